"""A WebUI that shares its port with others by SO_REUSEPORT.

reuseport.py PORT; with MUTE=yes it never accepts, and its queue holds the connections that it has made itself.
"""
import os
import signal
import socket
import sys

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(16)
port = listener.getsockname()[1]
if os.environ.get("MUTE") == "yes":
    kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    print("ready", port, flush=True)
    signal.pause()
print("ready", port, flush=True)
body = b'{"status": "ok", "sessions": 0, "active_streams": 0, "uptime_seconds": 1.0}'
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    connection.close()
