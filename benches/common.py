"""What the benchmarks share: the helpers in C, the processes that are looked at, and the program."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "target/benches"


def build():
    """The helpers in C, each with its name to its program."""
    BUILT.mkdir(parents=True, exist_ok=True)
    built = {}
    for name in ("floor", "patient", "measure"):
        source, program = ROOT / f"benches/{name}.c", BUILT / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            # Static: starting a program is part of what is measured, its dynamic loader is not.
            subprocess.run(["cc", "-O2", "-static", "-Wall", "-Wextra", "-o", program, source], check=True)
        built[name] = str(program)
    return built


@contextlib.contextmanager
def started(arguments, **options):
    """A process that says `ready PORT` when it is up and ends with its input: yields its pid and its port."""
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
    """A process that looks like a server of Hermes and has so many descriptors open."""
    with contextlib.ExitStack() as stack:
        directory = directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-doctor-bench-"))
        arguments = ["python3", f"{directory}/hermes-webui/server.py", "descriptors", str(count), directory]
        yield stack.enter_context(started(arguments, executable=build()["patient"]))


@contextlib.contextmanager
def healthy():
    """The healthy server of the tests."""
    with tempfile.TemporaryDirectory(prefix="hermes-doctor-bench-") as home:
        pathlib.Path(home, "config.yaml").touch()
        server = ROOT / "tests/patients/hermes-webui/server.py"
        environment = {"PATH": "/usr/bin:/bin", "HERMES_HOME": home, "PATIENT": "", "PORT": "0"}
        with started([sys.executable, server], env=environment, stderr=subprocess.DEVNULL) as found:
            yield found
