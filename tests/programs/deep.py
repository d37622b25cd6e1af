"""Holds a file whose path is longer than the kernel tells: readlink of its descriptor fails with ENAMETOOLONG."""
import os
import signal
import sys

os.chdir(sys.argv[1])
for _ in range(25):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
held = open("file", "w")
print("ready 1", flush=True)
signal.pause()
