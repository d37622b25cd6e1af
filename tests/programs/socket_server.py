"""A program that answers HTTP on a Unix socket, as supervisord and container runtimes do: well, or as no such program
should.

socket_server.py [-c FILE] with in the environment ANSWER_SOCKET the path of the socket, and ANSWER what it does:
  file=PATH    200 with that file's contents
  huge         200 with 64 MiB
  drip         200, and then a byte each 100 ms for ever
  silent       accepts and says nothing
  garbage      bytes that are no HTTP
  status=N     that status
"""
import os
import socket
import sys
import time

path, what = os.environ["ANSWER_SOCKET"], os.environ["ANSWER"]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)
os.chmod(path, 0o666)
print("ready 1", flush=True)
kept = []
while True:
    connection, _ = listener.accept()
    try:
        connection.recv(65536)
        if what == "silent":
            kept.append(connection)
            continue
        if what == "garbage":
            connection.sendall(b"\x1b[2J\xff\xfe" * 1000)
        elif what.startswith("status="):
            connection.sendall(b"HTTP/1.0 %s No\r\n\r\n" % what[7:].encode())
        else:
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n")
            if what == "huge":
                for _ in range(64):
                    connection.sendall(b"<a>" * (1 << 18))
            while what == "drip":
                connection.sendall(b"<")
                time.sleep(0.1)
            if what.startswith("file="):
                connection.sendall(open(what[5:], "rb").read())
    except OSError:
        pass
    connection.close()
