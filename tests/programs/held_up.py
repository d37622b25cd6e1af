"""Processes of a user that are held up in execve(2) for as long as a file on a FUSE mount is not flushed. Arguments: the
user, the file, and how many."""
import os
import sys
import time

user, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for _ in range(count):
    if os.fork() == 0:
        os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os.execv("/bin/sleep", ["hermes gateway run", "600"])
print("ready 0", flush=True)
time.sleep(600)
