"""Opens and closes descriptors all the time."""
import os
import threading

print("ready", 1, flush=True)


def churn():
    while True:
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
        for number in held:
            os.close(number)


for _ in range(2):
    threading.Thread(target=churn, daemon=True).start()
churn()
