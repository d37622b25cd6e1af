"""A server all of whose words are hostile to a terminal: the name of its process, the names of its files and of its
working directory, and what it answers. HERMES_HOME says where its files are."""
import http.server
import os

EVIL = b"\x1b]0;owned\x07\x1b[31m\nroot: \xff\xfe\xc2\x9b2J\xe2\x80\xae\xe2\x80\x8f\r\x7f"

home = os.fsencode(os.environ["HERMES_HOME"])
place = home + b"/" + EVIL.replace(b"/", b"")
os.makedirs(place, exist_ok=True)
os.chdir(place)
kept = [open(place + b"/%d" % number + EVIL, "wb") for number in range(20)]
for file in kept[:10]:
    os.unlink(file.name)
with open("/proc/self/comm", "wb") as name:
    name.write(b"\x1b[31m\n\xff) R 1")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status": "' + EVIL + b'", "error": "\\u001b[31m\\u202e", "checks": {"\\u001b[2J": false}}'
        line = EVIL.replace(b"\n", b" ").replace(b"\r", b" ")
        try:
            self.wfile.write(b"HTTP/1.1 503 " + line + b"\r\nServer: " + line + b"\r\nLocation: http://" + line)
            self.wfile.write(b"\r\nContent-Type: application/json" + line + b"\r\n" + line + b": x")
            self.wfile.write(b"\r\nX-Long: " + b"y" * (1 << 17))
            self.wfile.write(b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("ready", server.server_port, flush=True)
server.serve_forever()
