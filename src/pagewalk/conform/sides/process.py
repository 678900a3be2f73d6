"""Processes of a comparison: each is a Python module with a pipe to who started it, and ends with that in any case.

How it works: the kernel kills a process when its parent dies (PR_SET_PDEATHSIG), so that a chain of them falls as one:
even SIGKILL to the first leaves nobody behind. The parent may have died before the process could ask for that; so it
looks who its parent is, afterwards.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING

from pagewalk.abi.processes import PR_SET_PDEATHSIG

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Process", "end_with", "parents_pipe"]

_PATIENCE = 5
"""Seconds in which a process that is asked to end should."""


class Process:
    """A process that runs a module, and the pipe to it. The module begins with ``parents_pipe``."""

    def __init__(self, module: str) -> None:
        self.pipe, theirs = Pipe()
        with theirs, _uninterrupted():
            command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())]
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])  # noqa: S603

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def close(self) -> None:
        """Let it end, which the end of its pipe asks it to; kill it if it does not."""
        self.pipe.close()
        try:
            self._popen.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> int:
        """Kill it, and with it all that it started; returns its status."""
        self.pipe.close()
        self._popen.kill()
        return self._popen.wait()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put interrupts off; a process that is started meanwhile never gets any: it ends with the first one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def parents_pipe() -> Connection:
    """In the process that was started: the pipe to who did it, with whom it ends."""
    pipe, parent = map(int, sys.argv[1:3])
    end_with(parent)
    return Connection(pipe)


def end_with(parent: int) -> None:
    """End this process when its parent ends, or now if that has ended already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
