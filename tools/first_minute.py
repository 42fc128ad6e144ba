"""``make first-minute``: docs/first-minute.txt, what `make demo` prints in a terminal of a fresh clone of what is committed.

Standard library only. The clone's path is written as ``~/realcompo``; of a progress bar the last state stays.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "first-minute.txt"
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")
COLUMNS = 120


def main() -> int:
    """Clone, run, write; returns the exit code of make."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "realcompo"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        code, said = in_terminal(["make", "demo"], clone)
        text = "$ make demo\n" + as_seen(said, {str(clone.resolve()): "~/realcompo", str(clone): "~/realcompo"})
    sys.stdout.write(text)
    if code == 0:
        TARGET.write_text(text, encoding="utf-8")
    return code


def in_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a terminal of 120 columns, as from a new shell; returns its exit code and all that it wrote."""
    inner, outer = pty.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "VENV", "VIRTUAL", "PYTHON"))
    }
    environment |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=outer, stdout=outer, stderr=outer)
    os.close(outer)
    said = bytearray()
    while True:
        try:
            part = os.read(inner, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        said += part
    os.close(inner)
    return process.wait(), said.decode("utf-8", errors="replace")


def as_seen(said: str, names: dict[str, str]) -> str:
    """What a reader saw last of each line, without colours; `names` says what stands for which path."""
    lines = []
    for line in ESCAPE.sub("", said).replace("\r\n", "\n").split("\n"):
        states = [state for state in line.split("\r") if state.strip()]
        seen = states[-1].rstrip() if states else ""
        for path, name in names.items():
            seen = seen.replace(path, name)
        lines.append(seen)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


if __name__ == "__main__":
    sys.exit(main())
