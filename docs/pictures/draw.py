"""Draws a run of hermes-doctor, as a terminal of 80 columns shows it, as SVG.

draw.py PROGRAM PICTURE ARGUMENT...
"""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 80

# The picture has a ground of its own, so that it reads the same on a light page and on a dark one.
THEME = TerminalTheme(
    (24, 26, 31),
    (220, 223, 228),
    [(24, 26, 31), (240, 113, 120), (152, 195, 121), (229, 192, 123),
     (97, 175, 239), (214, 140, 235), (86, 182, 194), (220, 223, 228)],
    [(92, 99, 112), (255, 139, 146), (181, 218, 153), (245, 214, 156),
     (130, 196, 250), (229, 170, 246), (120, 208, 219), (255, 255, 255)],
)

# As rich draws it, but with the fonts that the reader has: a picture must not fetch any.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>{title_of_picture}</title>
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(program, arguments):
    """What the program writes to a terminal of 80 columns."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    # Progress is written to standard error and wiped out again: nothing of it stays on the screen.
    process = subprocess.Popen(
        ["hermes-doctor", *arguments], executable=os.path.abspath(program), env=environment,
        stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    written = bytearray()
    while True:
        try:
            piece = os.read(control, 65536)
        except OSError:  # Linux says EIO where the other end has closed.
            break
        if not piece:
            break
        written += piece
    process.wait()
    return written.decode().replace("\r\n", "\n")


def main():
    program, picture, *arguments = sys.argv[1:]
    command = " ".join(["hermes-doctor", *arguments])
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(Text.assemble(("$ ", "green"), (command, "bold")), soft_wrap=True)
    console.print()
    console.print(Text.from_ansi(run(program, arguments)), soft_wrap=True)
    svg = console.export_svg(
        title="", theme=THEME, unique_id="terminal",
        code_format=FORMAT.replace("{title_of_picture}", f"What {command} shows in a terminal"),
    )
    with open(picture, "w", encoding="utf-8") as file:
        # The ends of lines stand as newlines in the text of the picture; each line has its place without them.
        file.write("\n".join(line.rstrip() for line in svg.split("\n")) + "\n")


if __name__ == "__main__":
    main()
