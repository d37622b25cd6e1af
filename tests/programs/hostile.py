"""Answers as few servers do: `drip` a byte now and then, `endless` bytes, `escape` sequences, `garbage`; a byte a
`second`, `headers` or a `body` without an end as fast as they are taken, a body that only `claims` 10 GB; an `interim`
answer first, an answer whose end is not marked (`unmarked`), a `reset` within the body; `drain` takes a connection now
and then from a queue that is always full."""
import socket
import struct
import sys
import threading
import time

what = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
print("ready", listener.getsockname()[1], flush=True)


def answer(connection):
    try:
        connection.recv(65536)
        if what == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        elif what == "second":
            for byte in b"HTTP/1.1 200 OK\r\n" * 10:
                connection.sendall(bytes([byte]))
                time.sleep(1)
        elif what in ("headers", "body", "claims"):
            length = 10_000_000_000 if what == "claims" else 100_000_000_000_000_000_000_000
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            if what != "headers":
                connection.sendall(b"Content-Length: %d\r\n\r\n{" % length)
            while what != "claims":
                connection.sendall(b"X-Header: %s\r\n" % (b"a" * 8000))
            time.sleep(30)
        elif what == "endless":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\nX: " + b"a" * 1000)
            for _ in range(60):
                connection.sendall(b"a" * 1000)
                time.sleep(0.1)
        elif what in ("interim", "unmarked"):
            if what == "interim":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            connection.sendall(b'{"status": "ok", "sessions": 0, "active_streams": 0, "uptime_seconds": 1.0}')
            if what == "unmarked":
                time.sleep(30)
        elif what == "reset":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 50)
            time.sleep(0.2)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif what == "escape":
            body = b'{"status": "\x1b[31mred\xc2\x9b31m\xe2\x80\xaetxt"}'
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nServer: \x9b31m\xe2\x80\xae\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
        else:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    except OSError:
        pass
    finally:
        connection.close()


def client():
    while True:
        try:
            with socket.create_connection(listener.getsockname()) as connection:
                connection.recv(1)
        except OSError:
            time.sleep(0.1)


if what == "drain":
    for _ in range(20):
        threading.Thread(target=client, daemon=True).start()
    while True:
        time.sleep(0.4)
        listener.accept()[0].close()
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
