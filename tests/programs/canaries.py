"""A WebUI that has a secret in every place that a doctor looks at: each begins with `zq`.

Arguments: PORT, and whatever else. CANARY in the environment chooses how the health path is answered: `ok`, `sick`,
`redirect` or `garbage`. It lies wherever the test has copied it to, and makes its files in the working directory.
"""
import ctypes
import http.server
import json
import os
import socket
import sqlite3
import sys
import threading
import time

PASSWORD = "zqvariable"
libc = ctypes.CDLL(None, use_errno=True)
mode = os.environ.get("CANARY", "ok")


def rename_thread(name):
    libc.prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME


class Handler(http.server.BaseHTTPRequestHandler):
    server_version = "zqheader/1.0"
    sys_version = "zqsystem"

    def log_message(self, form, *arguments):
        log.write("zqlogline " + form % arguments + "\n")
        log.flush()

    def do_GET(self):
        token = "zqlocal"
        self.log_message("token %s", token)
        if mode == "redirect":
            self.send_response(302)
            self.send_header("Location", "https://zquser:zqpass@zqhost.example/zqpath?zqname=zqvalue#zqfragment")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = {"ok": 200, "sick": 503, "garbage": 200}[mode]
        body = {
            "status": {"ok": "ok", "sick": "degraded", "garbage": "zqstatus"}[mode],
            "version": "zqversion",
            "platform": "zqplatform",
            "zqfield": "zqbody",
            "active_streams": 0,
            "checks": {"zqcheck": {"status": "zqstate"}, "state_db": {"status": "error" if mode == "sick" else "ok"}},
        }
        data = json.dumps(body).encode() if mode != "garbage" else b"zqpage " * 20
        self.send_response(status, "zqreason")
        self.send_header("Set-Cookie", "zqcookie=zqcrumb")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def zqfunction(zqargument):
    time.sleep(3600)


def worker():
    zqown = "zqframe"
    rename_thread("zqthread")
    while True:
        zqfunction(zqown)


held = []
for name in ["zqclients.db", "zqclients two.db", os.path.join(os.environ.get("HERMES_HOME", "."), "state.db")]:
    connection = sqlite3.connect(name, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS zqtable (zqcolumn)")
    connection.commit()
    connection.execute("SELECT * FROM zqtable").fetchall()
    held.append(connection)
held.append(open("zqletter to zqann.txt", "w"))
unlinked = open("zqunlinked.log", "w")
unlinked.write("zqtext\n" * 100)
unlinked.flush()
os.unlink("zqunlinked.log")
if os.path.exists("zqsocket"):
    os.unlink("zqsocket")
bound = socket.socket(socket.AF_UNIX)
bound.bind("zqsocket")
bound.listen()
hidden = socket.socket(socket.AF_UNIX)
hidden.bind("\0zqabstract-%d" % os.getpid())
held += [bound, hidden, os.memfd_create("zqmemory"), os.open(".", os.O_RDONLY)]
log = open("zqserver.log", "a")
log.write("Traceback: zqexception in zqmodule\n")
rename_thread("zqprocess")
threading.Thread(target=worker, name="zqnamed", daemon=True).start()
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", server.server_address[1], flush=True)
server.serve_forever()
