"""Holds one descriptor of each kind."""
import ctypes
import os
import select
import signal
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
listener = socket.create_server(("127.0.0.1", 0))
held = [
    open(__file__),
    os.open("/", os.O_RDONLY),
    os.open("/dev/null", os.O_RDONLY),
    os.pipe(),
    socket.socketpair(),
    listener,
    socket.create_connection(listener.getsockname()),
    listener.accept(),
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    os.eventfd(0),
    select.epoll(),
    os.memfd_create("held"),
    os.pidfd_open(os.getpid()),
    libc.timerfd_create(time.CLOCK_MONOTONIC, 0),
    libc.inotify_init(),
    libc.signalfd(-1, ctypes.byref((ctypes.c_ulong * 16)()), 0),
]
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.bind(("127.0.0.1", 0))
held[8].bind((0, 0))
assert min(number for number in held if isinstance(number, int)) >= 0
print("ready", listener.getsockname()[1], flush=True)
signal.pause()
