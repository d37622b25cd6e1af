"""A WebUI that runs into real limits and writes what it meets to its log, as the real one does: a structured line for each
request, Python's logging for what goes wrong.

HERMES_HOME and PORT say where; TEST_SERVER is a list of words separated by commas, done in this order:
  stderr       log to standard error, not to webui.log
  canary=WORD  put WORD into every message
  malformed=N  query a damaged database N times, and log each error
  locked=N     write to a database that another connection has locked N times, and log each error
  emfile=N     lower the soft limit of descriptors to N, open files until it is reached, and log each of three errors
  hold=MIB     keep so much memory
  cache=MIB    read a file of so many MiB, which stays in the page cache
  stream       read it again and again
  killed       a child takes memory until the kernel kills it
  threads      start threads that wait, until no more can be started
  untimed      errors of requests go to the log without a time, as socketserver prints them
"""
import http.server
import json
import logging
import os
import resource
import socketserver
import sqlite3
import sys
import threading
import time
import traceback

options = dict(
    (word.partition("=")[0], word.partition("=")[2]) for word in os.environ.get("TEST_SERVER", "").split(",") if word
)
home = os.environ["HERMES_HOME"]
canary = options.get("canary", "")
log = sys.stderr if "stderr" in options else open(os.path.join(home, "webui.log"), "a", buffering=1)
logging.basicConfig(stream=log, format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
logger = logging.getLogger("webui")
logger.info("starts %s", canary)
kept = []
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "HermesWebUI/0.51.900"

    def log_request(self, code="-", size="-"):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        log.write("[webui] %s\n" % json.dumps({"ts": stamp, "path": self.path, "status": int(code)}))

    def do_GET(self):
        body = json.dumps({"status": "ok", "sessions": 0, "active_streams": 0, "uptime_seconds": 1.0}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        if "untimed" in options:
            log.write("-" * 40 + "\nException occurred during processing of request\n")
            traceback.print_exc(file=log)
            log.write("-" * 40 + "\n")
        else:
            logger.exception("request of %s failed %s", client_address, canary)


database = os.path.join(home, "damaged.db")
if "malformed" in options:
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE t (a)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    connection.commit()
    connection.close()
    with open(database, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40960)
    for _ in range(int(options["malformed"])):
        connection = sqlite3.connect(database)
        try:
            connection.execute("SELECT count(*) FROM t WHERE a > 'y'").fetchall()
        except sqlite3.DatabaseError:
            logger.exception("session %s could not be read", canary)
        connection.close()

if "locked" in options:
    path = os.path.join(home, "locked.db")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (a)")
    holder.execute("BEGIN IMMEDIATE")
    for _ in range(int(options["locked"])):
        other = sqlite3.connect(path, timeout=0)
        try:
            other.execute("INSERT INTO t VALUES (1)")
        except sqlite3.OperationalError as error:
            logger.error("could not save %s: %s", canary, error)
        other.close()
    holder.execute("COMMIT")
    holder.close()

server = Server(("127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)

if "emfile" in options:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(options["emfile"]), hard))
    failed = 0
    while failed < 3:
        try:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            failed += 1
            logger.exception("could not open a file %s", canary)
    # The last one is given back, so that a connection can be accepted.
    os.close(kept.pop())

if "hold" in options:
    kept.append(bytearray(os.urandom(1024)) * (1024 * int(options["hold"])))

if "cache" in options:
    size = int(options["cache"]) << 20
    path = os.path.join(home, "large")
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(b"x" * (1 << 20))
            file.flush()
            # Dirty pages cannot be given back, and version 1 does not wait for them.
            os.fdatasync(file.fileno())

    def read():
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 18):
                pass

    read()
    if "stream" in options:

        def stream():
            while True:
                read()

        threading.Thread(target=stream, daemon=True).start()

if "killed" in options:
    child = os.fork()
    if child == 0:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        taken = []
        while True:
            taken.append(bytearray(b"x" * (1 << 20)))
    os.waitpid(child, 0)

with open(os.path.join(home, "webui.pid"), "w") as file:
    file.write(str(os.getpid()))
if "threads" in options:
    try:
        while True:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
    except RuntimeError:
        logger.exception("a thread could not be started %s", canary)
print("ready", server.server_address[1], flush=True)
server.serve_forever()
