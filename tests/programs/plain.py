"""A server in few words: answers /health as a WebUI does, on the address and port of its arguments.

plain.py ADDRESS PORT, with LISTEN=no it listens nowhere; SILENT=yes accepts and waits for the client.
"""
import os
import signal
import socket
import sys

if os.environ.get("LISTEN") == "no":
    held = socket.socketpair()
    print("ready 1", flush=True)
    signal.pause()
address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
listener.bind((address, port))
listener.listen(16)
if "HERMES_HOME" in os.environ and "PIDFILE" in os.environ:
    with open(os.path.join(os.environ["HERMES_HOME"], "webui.pid"), "w") as file:
        file.write(str(os.getpid()))
print("ready", listener.getsockname()[1], flush=True)
body = b'{"status": "ok", "sessions": 0, "active_streams": 0, "uptime_seconds": 1.0}'
while True:
    connection, _ = listener.accept()
    if os.environ.get("SILENT") == "yes":
        signal.pause()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    connection.close()
