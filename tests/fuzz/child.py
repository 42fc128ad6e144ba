"""One process that is fed mutated inputs, and says what went wrong: run by test_fuzz.py, or by hand to see one failure again.

    python -m tests.fuzz.child FOLDER SEED recipe-toml:0:500 png:17:18

It may write below FOLDER only, ask nobody, reach nothing; its memory is limited, and an input that takes minutes ends it. Answers are JSON
lines on its standard output.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

HANG = 120
"""Seconds after which one input has surely hung; most take a few milliseconds."""
MEMORY = 1 << 30
"""Bytes of address space that the inputs may take beside what was there before them."""
_SPAWN = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn", "pickle.find_class", "os.spawn"}
_REACH = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}
_CHANGE = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.symlink": 2, "os.link": 2, "os.truncate": 1, "os.chmod": 1}
"""Event → how many of its arguments are paths."""


class Watch:
    """What the process does that no input may make it do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.seen = str(folder.resolve()), False, ""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if writes and not self._inside(path):
                self.seen = f"opened {path!r} for writing"
        elif event in _CHANGE:
            outside = [path for path in arguments[: _CHANGE[event]] if not self._inside(path)]
            if outside:
                self.seen = f"{event} of {outside[0]!r}"
        elif event in _SPAWN or event in _REACH or event.startswith("ctypes.dlopen"):
            self.seen = f"{event} {arguments!r:.200}"

    def _inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return True  # a descriptor that was opened already
        full = os.path.realpath(
            os.path.join(os.path.realpath(os.path.dirname(os.fsdecode(path)) or "."), os.path.basename(os.fsdecode(path)))
        )
        return full == "/dev/null" or full.startswith(self.folder + os.sep)


class NoAnswer:
    """A standard input that nobody may ask."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the terminal was asked (stdin.{name})")


def main(words: list[str]) -> int:
    folder, seed = Path(words[0]), words[1]
    folder.mkdir(parents=True, exist_ok=True)
    progress = (folder / "progress.txt").open("w+")
    faulthandler.enable()
    gc.disable()  # until all is imported: most of this process's time is its start
    import warnings

    warnings.simplefilter("ignore")
    import diffusers.utils  # noqa: F401  # torch's compiler, which it imports, makes a folder for its cache: not what is looked for

    from realcompo.errors import RealCompoError
    from tests.fuzz import targets

    watch = Watch(folder)
    plan = [(name, int(first), int(end)) for name, first, end in (word.split(":") for word in words[2:])]
    ready = {name: targets.TARGETS[name](folder) for name, _, _ in plan}
    for target in ready.values():
        for number in range(5):  # imports, caches
            with suppress(Exception):
                target.feed(target.make(targets.Mutator(f"warm {number}")))
    gc.collect()
    gc.freeze()
    gc.enable()
    limit_memory()
    sys.stdin = NoAnswer()  # type: ignore[assignment]
    for name, first, end in plan:
        target, started = ready[name], time.process_time()
        refused = passed = 0
        for index in range(first, end):
            progress.seek(0)
            progress.write(f"{name}:{index}:{index + 1}      ")
            progress.flush()
            faulthandler.dump_traceback_later(HANG, exit=True)
            watch.seen, failure = "", None
            try:
                sample = target.make(targets.Mutator(f"{seed}/{name}/{index}"))
                watch.on = True
                target.feed(sample)
                passed += 1
            except RealCompoError as error:
                refused += 1
                said = str(error)
                if not error.what.strip() or not error.mend or len(said) > 20_000:
                    failure = f"an error that says too little or too much: {said[:300]!r}"
            except BaseException as error:
                frames = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
                failure = f"{type(error).__name__}: {str(error)[:300]} at {' < '.join(reversed(frames[-6:]))}"
            finally:
                watch.on = False
            failure = watch.seen or failure
            if failure:
                print(json.dumps({"target": name, "index": index, "failure": failure}), flush=True)
        faulthandler.cancel_dump_traceback_later()
        took = round(time.process_time() - started, 1)
        print(json.dumps({"target": name, "fed": end - first, "refused": refused, "passed": passed, "seconds": took}), flush=True)
    return 0


def limit_memory() -> None:
    """From here on, an input that takes gigabytes is a MemoryError, which is a failure."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
