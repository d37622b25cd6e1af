"""Common parts of the benchmarks: the helpers in C, the processes to examine, and the program."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "target/benches"
INSIDE = "HERMES_DOCTOR_BENCH_INSIDE"
# The user's own environment must not change the result.
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C"}


def build():
    """Builds the helpers in C; returns the path of each program by its name."""
    BUILT.mkdir(parents=True, exist_ok=True)
    built = {}
    for name in ("floor", "server", "measure"):
        source, program = ROOT / f"benches/{name}.c", BUILT / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            # Static: the measurement includes the start of the program, but not that of a dynamic loader.
            subprocess.run(["cc", "-O2", "-static", "-Wall", "-Wextra", "-o", program, source], check=True)
        built[name] = str(program)
    return built


@contextlib.contextmanager
def started(arguments, **options):
    """Starts a process that prints `ready PORT` when it is ready, and ends when its input closes; yields its pid and port."""
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
    try:
        line = process.stdout.readline().split()
        if not line or line[0] != "ready":
            sys.exit(f"benches: {arguments} did not start")
        yield process.pid, int(line[1])
    finally:
        process.stdin.close()
        process.kill()
        process.wait()


@contextlib.contextmanager
def with_descriptors(count, directory=None):
    """A process that looks like a Hermes server and has this many open descriptors."""
    with contextlib.ExitStack() as stack:
        directory = directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-doctor-bench-"))
        arguments = ["python3", f"{directory}/hermes-webui/server.py", "descriptors", str(count), directory]
        yield stack.enter_context(started(arguments, executable=build()["server"]))


@contextlib.contextmanager
def healthy():
    """The healthy server of the tests."""
    with tempfile.TemporaryDirectory(prefix="hermes-doctor-bench-") as home:
        pathlib.Path(home, "config.yaml").touch()
        server = ROOT / "tests/programs/hermes-webui/server.py"
        environment = {"PATH": "/usr/bin:/bin", "HERMES_HOME": home, "TEST_SERVER": "", "PORT": "0"}
        with started([sys.executable, server], env=environment, stderr=subprocess.DEVNULL) as found:
            yield found


def stranger():
    """A program that listens and is not a Hermes server."""
    listens = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print('ready', s.getsockname()[1], flush=True); sys.stdin.read()"
    return started([sys.executable, "-c", listens])


def looks():
    """The runs to count: name and arguments of each, while the processes to examine are running."""
    yield "--version", ["--version"]
    for many in (1000, 10_000):
        with with_descriptors(many) as (pid, port):
            yield f"fds, {many} descriptors", ["fds", "--pid", str(pid), "--json"]
            if many == 1000:
                yield "port --all-holders, 1000 descriptors", ["port", str(port), "--all-holders"]
    with healthy() as (pid, port):
        for command in ("fds", "lineage", "health"):
            yield command, [command, "--pid", str(pid)]
        yield "port", ["port", str(port)]
        yield "check", ["check", "--port", str(port)]
        with started([build()["server"], "idle", "500"]):
            yield "check, 500 idle processes", ["check", "--port", str(port)]


def apart():
    """Runs the calling script again in its own namespaces (as root, unshare(1)), without other processes and sockets. Returns
    `None` in that second run, else its status."""
    if INSIDE in os.environ:
        return None
    # Built before the namespaces exist, because their processes end with them.
    build()
    inside = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--pid", "--net", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", inside, "sh"]
    return subprocess.run([*command, sys.executable, *sys.argv], env={**os.environ, INSIDE: "1"}).returncode


def under_callgrind(command, directory, *options):
    """Runs a command and its children under callgrind, with its output files in a directory."""
    tool = ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={directory}/%p", "--log-file=/dev/null", *options]
    done = subprocess.run([*tool, *command], env=PLAIN, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode not in (0, 1, 2):
        sys.exit(f"benches: {command} ended with {done.returncode}: {done.stderr[-600:]}")
    return sorted(pathlib.Path(directory).iterdir())
