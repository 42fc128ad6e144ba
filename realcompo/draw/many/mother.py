"""``python -m realcompo.draw.many.mother DESCRIPTOR SHARES``: loads the weights once, never draws, forks a worker when one is asked for.

A forked process sees its mother's memory until one of them writes there, and nobody writes into weights: so all workers share them, of
whatever plugin they are, and a worker that replaces a dead one is there at once. The mother has one thread (OMP_NUM_THREADS is set before
torch is imported), so nothing is forked in the midst of another thread's work. Where weights go to a GPU nothing is loaded before the
fork, for a CUDA context does not survive one.

The descriptor is a socket: first the work as JSON, then, for each worker, one byte with the worker's own socket. When whoever holds the
other end is gone, so is the mother; and so is a worker, once it looks up from its picture: it writes nothing that nobody waits for.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import warnings
from multiprocessing.connection import Connection
from typing import NoReturn

from ...interfaces.engine import Unit
from .work import Drawer, DrawingWork, packed


def main(descriptor: int, loads: bool) -> None:
    """Until the other end is closed."""
    from ...errors import RealCompoError, Remark

    warnings.simplefilter("ignore", Remark)  # the batch tells them, once for all its workers
    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the batch's
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which held it back until here
    told = Connection(os.dup(descriptor))
    gc.disable()  # it would walk half-imported libraries again and again: a fifth of the time until the first worker
    drawer = DrawingWork.of(json.loads(told.recv_bytes())).open()
    try:
        if loads:
            drawer.load()
            gc.collect()
            gc.freeze()  # the collector's marks would copy what is shared
        gc.enable()
        told.send_bytes(b"null")
    except RealCompoError as error:
        told.send_bytes(json.dumps(packed(error)).encode())
        return
    while True:
        byte, sockets, _, _ = socket.recv_fds(control, 1, 1)
        if not byte:
            return
        if os.fork():
            os.close(sockets[0])
            continue
        control.close()
        told.close()
        work(drawer, Connection(sockets[0]))


def work(drawer: Drawer, line: Connection) -> NoReturn:
    """A worker's life: a unit, its outcome, until nobody is at the other end."""
    drawer.going = lambda: not line.poll()  # the next unit comes after this one's outcome: what is there now is the end
    try:
        while True:
            line.send_bytes(json.dumps(drawer(Unit.of(json.loads(line.recv_bytes()))).plain()).encode())
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:  # told as Python does, but without what the mother would do at her end
        sys.excepthook(*sys.exc_info())
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "loads")
