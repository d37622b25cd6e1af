"""Processes of a user that call themselves a gateway, with many descriptors each on a file whose path is as long as a
path can be. Arguments: the user, how many processes, and how many descriptors each has."""
import os
import resource
import sys
import time

user, processes, descriptors = (int(word) for word in sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors + 64,) * 2)
for _ in range(15):
    os.mkdir("x" * 250)
    os.chdir("x" * 250)
# The script of the shell that each of them becomes; it waits.
with open("gateway", "w") as script:
    script.write("read line <&9\n")
waited_for, _kept = os.pipe()
for _ in range(processes):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        file = os.open("gateway", os.O_RDONLY)
        os.dup2(waited_for, 9)
        for number in range(descriptors):
            os.dup2(file, 50 + number)
        os.write(writer, b"x")
        os.execv("/bin/sh", ["hermes", "gateway", "run"])
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
print("ready 0", flush=True)
time.sleep(600)
