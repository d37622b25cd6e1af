"""A server as the Hermes WebUI is one: ThreadingHTTPServer with daemon threads, a backlog of 64, /health in JSON,
and state.db opened through CPython's sqlite3. What is wrong with it is chosen by TEST_SERVER in the environment.

PORT and HERMES_HOME say where; TEST_SERVER is a list of words separated by commas:
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
  fill=WHAT    open `db` connections or `sockets` until no descriptor is left; the accept loop then spins on EMFILE
  accept-lock  the accept loop waits for a lock that another thread keeps
  gil          half a second after the start one thread runs a regular expression that never ends, in C
  busy         a thread that computes all the time and shares the interpreter as it should
  deadlock     every handler waits for a lock that another thread keeps
  crossed      two threads that wait for each other's lock, and every handler for one of them
  route-lock   the same as deadlock for /api/sessions only
  chatty       a handler writes 100 KB to standard output before it answers
  workers=N    N handlers at a time, 503 without a body beyond them; /api/stuck keeps its handler
  slow-route=MS  /api/sessions works for so long
  waiting-route=MS  /api/sessions waits for so long, as for another server
  slow=MS      the health path waits for so long
  leak-fds=N   the health path leaves N descriptors open
  die=N        it ends after N requests for the health path
  writes       /api/sessions tries twice to write to state.db, five seconds each
  dstate=FIFO  a quarter of a second after the start the main thread waits in the kernel for a child that opens FIFO
  first-start=MS  listens, and then works for so long before it accepts
  /api/stream  is an event stream that is meant to stay open
"""
import http.server
import json
import os
import re
import resource
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time

options = dict(
    (word.partition("=")[0], word.partition("=")[2]) for word in os.environ.get("TEST_SERVER", "").split(",") if word
)
home = os.environ.get("HERMES_HOME") or os.path.expanduser("~/.hermes")
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
        if "chatty" in options:
            print("x" * 100_000, flush=True)
        if self.path.startswith("/api/stream"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            while True:
                self.wfile.write(b": keep-alive\n\n")
                time.sleep(15)
        elif self.path.startswith("/api/stuck"):
            time.sleep(3600)
        elif self.path.startswith("/api/sessions"):
            if "route-lock" in options:
                with SESSIONS_LOCK:
                    pass
            if "writes" in options:
                for _ in range(2):
                    try:
                        write_once()
                    except sqlite3.OperationalError:
                        pass
            end = time.monotonic() + int(options.get("slow-route", 0)) / 1000
            while time.monotonic() < end:
                pass
            time.sleep(int(options.get("waiting-route", 0)) / 1000)
            if "keeps" in options:
                connections.append(connect())
            if "forgetful" in options:
                with sqlite3.connect(database) as connection:
                    connection.execute("SELECT count(*) FROM t").fetchall()
            self.answer(200, json.dumps({"sessions": []}))
        elif "slow" in options:
            time.sleep(int(options["slow"]) / 1000)
            self.answer(200, json.dumps({"status": "ok", "sessions": 0, "active_streams": 0, "uptime_seconds": 1.0}))
        elif "deadlock" in options or "crossed" in options:
            with STREAMS_LOCK:
                self.answer(200, json.dumps({"status": "ok"}))
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
            connections.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(int(options.get("leak-fds", 0))))
            if requests_total > int(options.get("die", 1 << 30)):
                os._exit(1)
            body["accept_loop"] = {"requests_total": requests_total, "last_request_at": time.time()}
            if "deep=1" in self.path:
                body["checks"] = {"state_db": {"status": "ok", "ms": 0.4}, "sessions": {"status": "ok"}}
            self.answer(200, json.dumps(body))


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass

    def get_request(self):
        if "accept-lock" in options:
            with ACCEPT_LOCK:
                pass
        return super().get_request()

    def process_request(self, request, client_address):
        if "workers" in options and not slots.acquire(blocking=False):
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return self.shutdown_request(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            if "workers" in options:
                slots.release()


if "limit" in options:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(options["limit"]), hard))

ACCEPT_LOCK = threading.Lock()
STREAMS_LOCK = threading.Lock()
SESSIONS_LOCK = threading.Lock()
AGENT_LOCK = threading.Lock()
# Nothing is ready before each thread that is to keep a lock has it.
kept = threading.Semaphore(0)
both_have_one = threading.Barrier(2)
slots = threading.Semaphore(int(options.get("workers", 1)))
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


def write_once():
    connection = sqlite3.connect(database, timeout=5)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    finally:
        connection.close()


def keep(lock):
    with lock:
        kept.release()
        wait_for_the_agent()


def wait_for_the_agent():
    time.sleep(3600)


def take_both(first, second):
    with first:
        both_have_one.wait()
        kept.release()
        with second:
            pass


def run_in_c():
    time.sleep(0.5)
    re.match(r"(a+)+$", "a" * 64 + "b")


def compute():
    total = 0
    while True:
        total += 1


def background(target, *arguments, name=None):
    threading.Thread(target=target, args=arguments, name=name, daemon=True).start()


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
if "accept-lock" in options:
    background(keep, ACCEPT_LOCK, name="agent-sync")
    kept.acquire()
if "deadlock" in options:
    background(keep, STREAMS_LOCK, name="agent-sync")
    kept.acquire()
if "route-lock" in options:
    background(keep, SESSIONS_LOCK, name="agent-sync")
    kept.acquire()
if "crossed" in options:
    background(take_both, STREAMS_LOCK, AGENT_LOCK, name="stream-reaper")
    background(take_both, AGENT_LOCK, STREAMS_LOCK, name="agent-sync")
    kept.acquire()
    kept.acquire()
if "gil" in options:
    background(run_in_c, name="search")
if "busy" in options:
    background(compute, name="compute")
time.sleep(0.1)
print("ready", server.server_address[1], flush=True)
if "fill" in options:
    try:
        while options["fill"] == "db":
            connections.append(connect())
        while True:
            connections.append(socket.socket())
    except (OSError, sqlite3.OperationalError):
        pass
    try:
        while True:
            connections.append(socket.socket())
    except OSError:
        pass
if "dstate" in options:
    time.sleep(0.25)
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, options["dstate"], os.O_RDONLY, 0)])
end = time.monotonic() + int(options.get("first-start", 0)) / 1000
while time.monotonic() < end:
    pass
server.serve_forever()
