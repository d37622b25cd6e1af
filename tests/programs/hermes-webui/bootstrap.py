"""A launcher as the WebUI once had it: starts server.py in a session of its own, waits until something answers on
the port, and leaves with success, whoever it was that answered. With EXEC=yes it replaces itself by the server."""
import os
import socket
import subprocess
import sys
import time

server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")
port = int(sys.argv[-1])
os.environ["PORT"] = str(port)


def answers():
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


if os.environ.get("EXEC") == "yes":
    os.execv(sys.executable, [sys.executable, server])
if os.environ.get("FAIL") == "yes" and answers():
    sys.exit(1)
if not answers():
    subprocess.Popen([sys.executable, server], start_new_session=True, stdout=subprocess.DEVNULL)
while not answers():
    time.sleep(0.05)
time.sleep(0.2)
