"""A process that has a SQLite database open, in the state that is named.

database.py PATH STATE; it prints `ready 1` and waits. States:
  pool        13 connections that have read
  idle        a connection before its first read
  reader      a read transaction that is 2000 frames old, and a passive checkpoint that it has stopped
  writer      a write transaction that was begun and does nothing
  busy        write transactions one after the other, the lock hardly ever free
  deleted     its -wal and -shm were unlinked under it
  replaced    its database was replaced by another file of that name
  lost        the file was opened and closed beside SQLite, which drops the locks
  large       a log of more than 64 MiB, copied back
  rollback    rollback-journal mode, a connection that has read
  reserved    rollback-journal mode, a write transaction that was begun and does nothing
  busy-rollback  the same as busy in rollback-journal mode
  long-write  one write transaction that fits into memory, at work for long
  exclusive   locking_mode=EXCLUSIVE, at rest
  readers     readers that come and go while a writer is far ahead of the checkpoint
  checkpoint  prints what PRAGMA wal_checkpoint(PASSIVE) says, then waits
"""
import os
import sqlite3
import sys
import threading
import time

path, state = sys.argv[1], sys.argv[2]


def connect():
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)


def read(connection):
    connection.execute("SELECT count(*) FROM t").fetchall()
    return connection


first = connect()
first.execute("PRAGMA journal_mode=%s" % ("DELETE" if state in ("rollback", "reserved", "busy-rollback") else "WAL"))
first.execute("PRAGMA wal_autocheckpoint=0")
first.execute("CREATE TABLE IF NOT EXISTS t (a)")
first.execute("INSERT INTO t VALUES (1)")
kept = [read(first)]
said = "ready 1"
if state == "pool":
    kept += [read(connect()) for _ in range(12)]
elif state == "idle":
    first.close()
    kept = [connect()]
elif state in ("reader", "checkpoint"):
    old = connect()
    old.execute("BEGIN")
    read(old)
    kept.append(old)
    for number in range(2000):
        first.execute("INSERT INTO t VALUES (?)", ("x" * 3000,))
    row = first.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if state == "checkpoint":
        print(*row, flush=True)
elif state == "writer":
    first.execute("BEGIN IMMEDIATE")
elif state == "reserved":
    first.execute("BEGIN IMMEDIATE")
elif state in ("busy", "busy-rollback"):

    def write():
        connection = connect()
        while True:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO t VALUES (1)")
            time.sleep(0.02)
            connection.execute("COMMIT")

    threading.Thread(target=write, daemon=True).start()
    time.sleep(0.2)
elif state == "long-write":

    def write_on():
        connection = connect()
        connection.execute("BEGIN IMMEDIATE")
        while True:
            connection.execute("INSERT INTO t VALUES (randomblob(20))")
            connection.execute("DELETE FROM t WHERE rowid = last_insert_rowid()")

    threading.Thread(target=write_on, daemon=True).start()
    time.sleep(0.2)
elif state == "exclusive":
    first.execute("PRAGMA locking_mode=EXCLUSIVE")
    first.execute("INSERT INTO t VALUES (2)")
elif state == "readers":

    def append():
        connection = connect()
        connection.execute("PRAGMA wal_autocheckpoint=0")
        while True:
            connection.execute("INSERT INTO t VALUES (randomblob(40000))")
            time.sleep(0.002)

    def read_on(after):
        time.sleep(after)
        connection = connect()
        while True:
            connection.execute("BEGIN")
            read(connection)
            time.sleep(0.4)
            connection.execute("COMMIT")

    threading.Thread(target=append, daemon=True).start()
    for after in (0, 0.1, 0.2, 0.3):
        threading.Thread(target=read_on, args=(after,), daemon=True).start()
    time.sleep(0.8)
elif state == "deleted":
    os.unlink(path + "-wal")
    os.unlink(path + "-shm")
elif state == "replaced":
    os.rename(path, path + ".old")
    open(path, "wb").close()
elif state == "lost":
    open(path, "rb").close()
elif state == "large":
    first.execute("BEGIN")
    first.execute("INSERT INTO t SELECT randomblob(1000000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80) SELECT i FROM n)")
    first.execute("COMMIT")
    first.execute("PRAGMA wal_checkpoint(PASSIVE)")
print(said, flush=True)
while True:
    time.sleep(3600)
