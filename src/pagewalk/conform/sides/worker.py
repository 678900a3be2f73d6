"""``python -m pagewalk.conform.sides.worker``: runs scenarios on the running kernel, for the process that started it.

How it works: this process (the *host*) is asked for scenarios through a pipe. For each it forks a leader, an empty
arena that vanishes with it; a ``Fork`` step forks again. Every such process waits on its own pipe for a step, takes it,
and answers with the outcome and a look at itself. The host passes steps on and puts answers together. All are children
of the host (CLONE_PARENT), so that each ends with it (see ``process``), and not with the process that forked it. They
are a process group too: one that does not answer in time is killed with the others. A process whose pipe ends exits;
the host reaps all of them before it answers.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NoReturn

from pagewalk.abi.processes import CLONE_PARENT
from pagewalk.abi.syscalls import SYS_CLONE
from pagewalk.conform.scenarios import Exit, Fork, Scenario, Step
from pagewalk.conform.scenarios.target import Outcome
from pagewalk.conform.sides.actor import NO_PROCESS, SAME_CHILD, Actor, Look, Window, make_files
from pagewalk.conform.sides.aside import Aside
from pagewalk.conform.sides.process import end_with, parents_pipe
from pagewalk.conform.sides.swap import own_swap_is_on
from pagewalk.conform.sides.syscalls import ThisProcess

_KHUGEPAGED = "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed"
_CHILD = Outcome(trouble="this is the child")
_COUNTERS = ("thp_fault_fallback ", "thp_file_fallback ", "thp_collapse_alloc_failed ", "thp_split_page_failed ")


class Family(Mapping[int, int]):
    """The numbers of a scenario's processes, in memory that all of them share."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 4096)
        self._pids = memoryview(self._shared).cast("i")

    def join(self, number: int) -> None:
        """This process is that one."""
        self._pids[number] = os.getpid()

    def leave(self, number: int) -> None:
        """One has ended."""
        self._pids[number] = 0

    def __getitem__(self, number: int) -> int:
        if not 0 <= number < len(self._pids) or not self._pids[number]:
            raise KeyError(number)
        return self._pids[number]

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(len(self._pids)) if self._pids[number])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Own(Actor):
    """An actor whose target is this very process; its look leaves out what has not changed."""

    def __init__(self, own: ThisProcess, files: dict[str, int], family: Family) -> None:
        super().__init__(own, files, family=family)
        self._pids = family
        family.join(0)
        self._own = own
        self._last: Look | None = None

    def forked(self, number: int) -> None:
        """Look at this process, a new one, from now on."""
        self._own.reopen()
        self._pids.join(number)
        self._last = None

    def changed(self) -> Look | None:
        """A look, None when it is the one before."""
        look = self.look()
        if look == self._last:
            return None
        self._last = look
        return look

    def look(self) -> Look:
        """See ``Actor``; what lies above the last mapped page of a window is left out."""
        maps = self._own.maps(below=max(window.end for window in self.windows))
        ends = [int(line.partition(" ")[0].partition("-")[2], 16) for line in maps.splitlines()]
        pages = tuple(self._pages(window, ends) for window in self.windows)
        return Look(maps, tuple(self.windows), pages, self._own.smaps(self.windows[0].end))

    def _pages(self, window: Window, ends: list[int]) -> tuple[bytes, bytes]:
        last = max((min(end, window.end) for end in ends if end > window.start), default=window.start)
        return self._own.pages(window.start, last)


def _serve(actor: _Own, pipe: Connection) -> NoReturn:
    """Take steps until the pipe ends; a fork goes on here, in the child, with a pipe of its own."""
    outcome: Outcome | None
    while True:
        try:
            step, look = pipe.recv()
        except EOFError:
            os._exit(0)
        if isinstance(step, Exit):
            os._exit(0)
        if isinstance(step, Fork):
            outcome, pipe = _fork(actor, pipe, step.child)
        else:
            outcome = None if step is None else actor.do(step)
        if outcome is not _CHILD:
            pipe.send((outcome, actor.changed() if look else None))


def _fork(actor: _Own, pipe: Connection, number: int) -> tuple[Outcome, Connection]:
    """Fork, with the child's pipe from the host; whichever process this is then, its outcome and its pipe."""
    childs, host = Connection(recv_handle(pipe)), os.getppid()
    pid = _sibling()
    if pid < 0:
        childs.close()
        return Outcome(errno=ctypes.get_errno()), pipe
    if pid:
        childs.close()
        return Outcome(), pipe
    pipe.close()
    end_with(host)
    actor.forked(number)
    return _CHILD, childs


def _sibling() -> int:
    """``fork``, but for a child of this process's parent."""
    libc = ctypes.PyDLL(None, use_errno=True)  # which keeps the interpreter's lock: only this thread is in the child
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(SYS_CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))


class _StuckError(Exception):
    """A process did not answer in time."""


class _Run:
    """A scenario under way, seen from the host."""

    def __init__(self, target: ThisProcess, scenario: Scenario, host: Connection) -> None:
        target.begin()
        self._files = make_files(target, scenario.files)
        self._family = Family()
        self._aside = Aside()
        self._deadline = 0.0
        ours, pipe = Pipe()
        self._pipes = {0: ours}
        here = os.getpid()
        self._leader = os.fork()
        if not self._leader:
            end_with(here)
            os.setpgid(0, 0)
            ours.close()
            host.close()
            target.reopen()
            _serve(_Own(target, self._files, self._family), pipe)
        pipe.close()
        self._aside.empty()

    def take(self, steps: tuple[Step, ...], look: bool, seconds: float) -> list[Any]:
        """Take steps; fewer answers than steps when one did not return in time: then all processes are gone."""
        self._deadline = time.monotonic() + seconds
        answers: list[Any] = []
        try:
            for step in steps:
                answers.append(self._do(step, look))  # noqa: PERF401 (what was done before a stop counts)
        except _StuckError:
            with suppress(ProcessLookupError):
                os.killpg(self._leader, signal.SIGKILL)
        return answers

    def _do(self, step: Step, look: bool) -> tuple[Outcome, dict[int, Look | None]]:
        """The outcome, and what each process that lives shows (None: as before, or not asked for)."""
        outcome = self._refusal(step)
        if outcome is None:
            outcome, _ = self._ask(step.process, step, False)
            self._aside.empty()
        looks = {number: self._ask(number, None, True)[1] if look else None for number in list(self._pipes)}
        return outcome, {number: looks[number] for number in self._pipes}

    def _refusal(self, step: Step) -> Outcome | None:
        if step.process not in self._pipes:
            return NO_PROCESS
        return SAME_CHILD if isinstance(step, Fork) and step.child in self._pipes else None

    def _ask(self, number: int, step: Step | None, look: bool) -> tuple[Outcome, Look | None]:
        pipe = self._pipes[number]
        try:
            pipe.send((step, look))
            if isinstance(step, Fork):
                return self._forked(step.child, pipe)
            return self._answer(pipe)
        except (EOFError, ConnectionError):
            self._pipes.pop(number).close()
            self._family.leave(number)
            if isinstance(step, Exit):
                os.waitpid(-1, 0)  # a process lets go of its files when its pipe has ended already
            return (Outcome() if isinstance(step, Exit) else Outcome(trouble=self._death(number))), None

    def _answer(self, pipe: Connection) -> Any:
        if not pipe.poll(max(self._deadline - time.monotonic(), 0)):
            raise _StuckError
        return pipe.recv()

    def _forked(self, child: int, pipe: Connection) -> tuple[Outcome, Look | None]:
        host, childs = Pipe()
        with childs:
            send_handle(pipe, childs.fileno(), None)
            outcome, look = self._answer(pipe)
        if outcome == Outcome():
            self._pipes[child] = host
        else:
            host.close()
        return outcome, look

    def _death(self, number: int) -> str:
        if number:
            return f"process {number} died"
        _, status = os.waitpid(self._leader, 0)
        return f"process 0 died: {os.waitstatus_to_exitcode(status)}"

    def close(self) -> None:
        """End every process and wait for it."""
        for pipe in self._pipes.values():
            pipe.close()
        for fd in self._files.values():
            os.close(fd)
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _counters() -> tuple[str, ...]:
    """Counters that move when the kernel has no huge page to give, or makes one by itself."""
    with open("/proc/vmstat") as lines:  # noqa: PTH123 (once a scenario)
        counters = [line for line in lines if line.startswith(_COUNTERS)]
    counters.append(str(own_swap_is_on()))
    try:
        with open(_KHUGEPAGED) as collapsed:  # noqa: PTH123
            return (*counters, collapsed.read())
    except OSError:
        return tuple(counters)


def _answer(target: ThisProcess, host: Connection, run: _Run | None, request: Any) -> _Run | None:
    """One request: ("open", scenario), ("steps", steps, look, seconds), ("close",)."""
    match request:
        case ("open", scenario):
            run = _Run(target, scenario, host)
            host.send(_counters())
        case ("steps", steps, look, seconds):
            assert run is not None
            host.send((run.take(steps, look, seconds), _counters()))
        case ("close",):
            if run is not None:
                run.close()
            run = None
            host.send(None)
    return run


def main() -> None:
    """Serve the pipe to who started this, until it ends."""
    host = parents_pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    target = ThisProcess()
    run: _Run | None = None
    while True:
        try:
            run = _answer(target, host, run, host.recv())
        except (EOFError, ConnectionError):
            break
    if run is not None:
        run.close()


if __name__ == "__main__":
    main()
