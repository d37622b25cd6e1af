"""Two servers take turns under one pid, in a pid namespace of their own; and the program named by the arguments is
run on that pid meanwhile. Prints how often the pid was recycled, then a line of JSON for each run."""
import os
import subprocess
import sys
import threading
import time

places = sys.argv[1:3]
program = sys.argv[3]
wanted = 5000
recycled = 0
stop = threading.Event()


def born(place):
    """A child with the wanted pid, or nothing when another process was faster."""
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(wanted - 1))
    child = os.fork()
    if child == 0:
        try:
            os.execve("/bin/sleep", ["sleep", "3600", place], {"HERMES_HOME": place})
        finally:
            os._exit(1)
    if child == wanted:
        return child
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def take_turns():
    global recycled
    turn = 0
    while not stop.is_set():
        child = born(places[turn % 2])
        if child is None:
            continue
        turn += 1
        recycled += 1
        time.sleep(0.005 * (turn % 4))
        os.kill(child, 9)
        os.waitpid(child, 0)


turns = threading.Thread(target=take_turns)
turns.start()
answers = []
for _ in range(25):
    run = subprocess.run([program, "check", "--pid", str(wanted), "--json", "--budget", "3s"], capture_output=True)
    answers.append((run.returncode, run.stdout, run.stderr))
stop.set()
turns.join()
print(recycled)
for code, out, errors in answers:
    sys.stdout.buffer.write(out.replace(b"\n", b" ") + b"\n" if out else b"%d %r\n" % (code, errors))
