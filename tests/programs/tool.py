# The end of a program that stands in for systemctl or journalctl. Before it are NAME, RECORD, ANSWER and WAIT: it appends what it was
# started with to RECORD as a line of JSON, waits `no` time, for three seconds (`slow`) or for ever (`hung`), and prints ANSWER.
import json
import os
import signal
import stat
import sys
import time


def read(path):
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")


def descriptors():
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink("/proc/self/fd/" + number)
        except FileNotFoundError:
            pass
    return found


def terminal():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        return True
    except OSError:
        return False


# It may be called without any of the standard descriptors.
opened = descriptors()
is_pipe = stat.S_ISFIFO(os.fstat(0).st_mode) if "0" in opened else None
facts = {
    "name": NAME,
    # A character for each byte.
    "arguments": [os.fsencode(word).decode("latin-1") for word in sys.argv[1:]],
    "environment": read("/proc/self/environ").split("\0")[:-1],
    "descriptors": opened,
    "input_is_pipe": is_pipe,
    "input": os.read(0, 100).decode(errors="replace") if is_pipe else None,
    "session": os.getsid(0) == os.getpid(),
    "terminal": terminal(),
    "pid": os.getpid(),
    "parent": os.getppid(),
    "parent_command": read("/proc/%d/cmdline" % os.getppid()).split("\0"),
    "directory": os.getcwd(),
    "status": [line for line in read("/proc/self/status").splitlines() if line.startswith(("Uid", "Gid", "Groups", "Cap"))],
}
with open(RECORD, "a") as file:
    file.write(json.dumps(facts) + "\n")
if WAIT == "slow":
    time.sleep(3)
while WAIT == "hung":
    signal.pause()
# A byte for each character.
os.write(1, ANSWER.encode("latin-1"))
