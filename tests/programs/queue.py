"""Takes one connection, says one byte to it, and leaves the others in its queue."""
import signal
import socket

listener = socket.create_server(("127.0.0.1", 0))
print("ready", listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.sendall(b"x")
signal.pause()
