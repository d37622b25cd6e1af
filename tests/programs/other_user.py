"""A process of another user. What it does is its first argument; `ready 1` when it does it.

hold                      nothing
undumpable                nothing, and procfs gives its files to root (PR_SET_DUMPABLE of prctl(2))
named NAME                nothing, under this name of the process
listen SOCKET RECORD [ANSWER]
                          listens on a unix socket and writes to RECORD a line for each connection and what it was sent;
                          answers with the bytes of a file
exchange A B              exchanges two names again and again
Further arguments mean nothing.
"""
import ctypes
import os
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
what = sys.argv[1]
if what == "undumpable":
    libc.prctl(4, 0, 0, 0, 0)
if what == "named":
    libc.prctl(15, ctypes.c_char_p(sys.argv[2].encode()), 0, 0, 0)
if what == "exchange":
    one, other = os.fsencode(sys.argv[2]), os.fsencode(sys.argv[3])
    print("ready 1", flush=True)
    while True:
        libc.renameat2(-100, one, -100, other, 2)
if what == "listen":
    path, record = sys.argv[2], sys.argv[3]
    answer = open(sys.argv[4], "rb").read() if len(sys.argv) > 4 and os.path.exists(sys.argv[4]) else b""
    listener = socket.socket(socket.AF_UNIX)
    if os.path.lexists(path):
        os.unlink(path)
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen(16)
    print("ready 1", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.settimeout(3)
        with open(record, "ab") as file:
            file.write(b"connected\n")
            file.flush()
            try:
                data = connection.recv(65536)
                file.write(data)
                if data and answer:
                    connection.sendall(answer)
            except OSError:
                pass
        connection.close()
print("ready 1", flush=True)
while True:
    signal.pause()
