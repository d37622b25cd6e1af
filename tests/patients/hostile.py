"""Answers as no server should: `drip` a byte now and then, `endless` bytes, `escape` sequences, `garbage`."""
import socket
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
        elif what == "endless":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\nX: " + b"a" * 1000)
            for _ in range(60):
                connection.sendall(b"a" * 1000)
                time.sleep(0.1)
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


while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
