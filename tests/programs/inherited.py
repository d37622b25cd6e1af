"""A server whose child has inherited the listening socket; both end together."""
import os
import signal
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0))
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.close(write_end)
    os.read(read_end, 1)
    sys.exit(0)
os.close(read_end)
print("ready", listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    connection.close()
