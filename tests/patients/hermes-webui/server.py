"""A server as the Hermes WebUI is one: ThreadingHTTPServer with daemon threads, a backlog of 64, /health in JSON,
and state.db opened through CPython's sqlite3. What is wrong with it is chosen by PATIENT in the environment.

PORT and HERMES_HOME say where; PATIENT is a list of words separated by commas:
  leak=N       open N connections to state.db and keep them
  limit=N      lower the soft limit of descriptors first
  degraded     answer 503 with a failed check
  empty        close without a byte
  silent       accept and never answer
  error        answer 500
  html         answer 200 with a page
  redirect     answer 302
  ipv6         listen on ::1 only
  overload     answer as the overflow path of the worker pool does
  zombies=N    leave N children unreaped
  unlink       keep an unlinked log file open
  forgetful    /api/sessions opens state.db as `with sqlite3.connect()` does, without closing: from CPython 3.11 on the
               garbage collector closes it, late
  keeps        /api/sessions opens state.db and keeps the connection
  steady=MS    one more connection each MS milliseconds, kept, without any client: two descriptors each
"""
import http.server
import json
import os
import resource
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time

options = dict(
    (word.partition("=")[0], word.partition("=")[2]) for word in os.environ.get("PATIENT", "").split(",") if word
)
home = os.environ["HERMES_HOME"]
started = time.time()
requests_total = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "HermesWebUI/0.51.900"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, kind="application/json", headers=()):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        global requests_total
        requests_total += 1
        if self.path.startswith("/api/sessions"):
            if "keeps" in options:
                connections.append(connect())
            if "forgetful" in options:
                with sqlite3.connect(database) as connection:
                    connection.execute("SELECT count(*) FROM t").fetchall()
            self.answer(200, json.dumps({"sessions": []}))
        elif "silent" in options:
            time.sleep(3600)
        elif "empty" in options:
            self.close_connection = True
            raise RuntimeError("the handler fails before it writes")
        elif "overload" in options:
            self.wfile.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.close_connection = True
        elif "error" in options:
            self.answer(500, "boom", "text/plain")
        elif "html" in options:
            self.answer(200, "<html></html>", "text/html")
        elif "redirect" in options:
            self.answer(302, "", headers=[("Location", "/login?next=%2Fhealth&token=canary-secret")])
        elif "degraded" in options:
            checks = {"streams_lock": {"status": "ok", "ms": 0.1}, "state_db": {"status": "error", "error": "OperationalError"}}
            self.answer(503, json.dumps({"status": "degraded", "checks": checks, "active_streams": 0}))
        else:
            body = {"status": "ok", "sessions": 2, "active_streams": 0, "uptime_seconds": time.time() - started}
            body["accept_loop"] = {"requests_total": requests_total, "last_request_at": time.time()}
            if "deep=1" in self.path:
                body["checks"] = {"state_db": {"status": "ok", "ms": 0.4}, "sessions": {"status": "ok"}}
            self.answer(200, json.dumps(body))


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


if "limit" in options:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(options["limit"]), hard))

database = os.path.join(home, "state.db")
connections = []


def connect():
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.execute("SELECT count(*) FROM t").fetchall()
    return connection


for _ in range(int(options.get("leak", 1))):
    connections.append(connect())

for _ in range(int(options.get("zombies", 0))):
    os.posix_spawn("/bin/true", ["true"], {})

if "unlink" in options:
    log = open(os.path.join(home, "webui.log"), "w")
    log.write("x" * 4096)
    log.flush()
    os.unlink(log.name)

if "steady" in options:

    def leak_steadily():
        next_one = time.monotonic()
        while True:
            next_one += int(options["steady"]) / 1000
            time.sleep(max(0, next_one - time.monotonic()))
            try:
                connections.append(sqlite3.connect(database, check_same_thread=False))
                connections[-1].execute("SELECT count(*) FROM t").fetchall()
            except sqlite3.OperationalError:
                return

    threading.Thread(target=leak_steadily, daemon=True).start()

if "ipv6" in options:
    Server.address_family = socket.AF_INET6
server = Server(("::1" if "ipv6" in options else "127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)
with open(os.path.join(home, "webui.pid"), "w") as file:
    file.write(str(os.getpid()))
print("ready", server.server_address[1], flush=True)
server.serve_forever()
