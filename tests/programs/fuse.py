"""A filesystem with one file, `file`, whose daemon answers until a line comes on its standard input; then it leaves
requests `unread`, or reads them and leaves them `unanswered`. With `unflushed` it answers all but FLUSH, from the
beginning: whoever closes the file waits. Arguments: where it is mounted, which of the three, and the file whose bytes
it serves; without the last it never answers at all."""
import ctypes
import os
import select
import struct
import sys
import time

place, how = sys.argv[1], sys.argv[2]
content = open(sys.argv[3], "rb").read() if len(sys.argv) > 3 else None
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fuse
if ctypes.CDLL(None, use_errno=True).mount(b"hung", os.fsencode(place), b"fuse", 0, options) != 0:
    sys.exit("no mount")

# Numbers and structures of the kernel's include/uapi/linux/fuse.h.
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, OPENDIR, READDIR = 1, 2, 3, 14, 15, 18, 25, 26, 27, 28
RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 29, 34, 36, 42
ENOENT, ENOSYS = 2, 38
ROOT, FILE = 1, 2


def attributes(node):
    size, mode = (len(content), 0o100755) if node == FILE else (0, 0o40755)
    return struct.pack("<6Q10I", node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body):
    """Error number and bytes. Nothing may be cached: each later look at a name asks again."""
    if opcode == INIT:
        return 0, struct.pack("<4I2H2I2HI7I", 7, 31, 65536, 0, 12, 9, 65536, 1, 16, 0, 0, *[0] * 7)
    if opcode == LOOKUP:
        found = body.rstrip(b"\0") == b"file"
        return (0, struct.pack("<4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE)) if found else (ENOENT, b"")
    if opcode == GETATTR:
        return 0, struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if opcode in (OPEN, OPENDIR):
        return 0, struct.pack("<Q2I", 0, 0, 0)
    if opcode == READ:
        offset, size = struct.unpack_from("<QI", body, 8)
        return 0, content[offset : offset + size]
    # FLUSH is refused, which switches it off: else whoever closes a file would wait, a child before its exec too.
    if opcode in (RELEASE, RELEASEDIR, READDIR, ACCESS):
        return 0, b""
    return ENOSYS, b""


if content is None:
    print("ready 1", flush=True)
    time.sleep(120)
    sys.exit()


def serve(seconds, replies=True):
    """Takes requests, until a line comes when it replies."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready = select.select([fuse, 0] if replies else [fuse], [], [], 1)[0]
        if 0 in ready:
            return
        if fuse not in ready:
            continue
        request = os.read(fuse, 1 << 20)
        _, opcode, unique, node = struct.unpack_from("<2I2Q", request)
        if opcode == FLUSH and how == "unflushed":
            continue
        if replies and opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
            error, body = answer(opcode, node, request[40:])
            os.write(fuse, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


print("ready 1", flush=True)
serve(120)
print("hung", flush=True)
if how == "unanswered":
    serve(120, replies=False)
else:
    time.sleep(120)
