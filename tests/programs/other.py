"""A program that is no Hermes server: it answers 404 to everything, on PORT of the environment."""
import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.send_error(404)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)
print("ready", server.server_address[1], flush=True)
server.serve_forever()
