"""Ctrl-C at any moment: the call ends there, no lock is held afterwards, and the books are right.

Three ways to be anywhere. At each allocation in turn: Ctrl-C while frames are taken. At lines of the model's code: a
trace function raises there, so that a number replays a place. By a real signal, after a time drawn at random: that one
also comes between the steps of a lock, where a trace function would raise where no signal is ever handled.
"""

from __future__ import annotations

import _weakrefset
import gc
import linecache
import random
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk.mm
from pagewalk import abi
from pagewalk.errors import PagewalkError
from pagewalk.mm import Machine, Mm
from tests.mm.chaos import CALLS, OFTEN, Draw, begin
from tests.mm.fuzz import Tank, counted, failing
from tests.mm.sizes import BLOCK, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


MODEL = str(Path(pagewalk.mm.__file__).parent)
LOCKING = str(Path(MODEL, "hardware", "machine.py"))
RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
START = 64 * BLOCK
POLICIES = ("always", "madvise", "never")
MANY = 60


def new_tank(policy: Any = "madvise") -> Tank:
    """A machine whose address spaces are kept even when nobody got them: they must hold nothing."""
    tank = Tank(Machine(24 << 20, thp=policy, swap=1 << 20, hugetlb={BLOCK: 3}))
    tank.machine.spaces = set()  # type: ignore[assignment]
    return tank


def usable(tank: Tank) -> None:
    """The books are right, and nobody holds a lock: not even this thread, as another finds."""
    tank.mms = [mm for mm in tank.machine.spaces if isinstance(mm, Mm) and mm.alive]
    tank.check()
    busy: list[Any] = []

    def look() -> None:
        if not tank.machine.lock.acquire(blocking=False):
            busy.append("the machine's lock")
            return
        tank.machine.lock.release()
        for mm in tank.mms:
            locks = mm.mmap_lock, mm.mmap_lock.gate
            busy.extend(hold for lock in locks for hold in lock._holds if hold.counts)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert not busy


def world(tank: Tank) -> Mm:
    """A process with small pages, a huge page, swapped pages, guards, a file, hugetlb, and room."""
    mm = tank.mm()
    mm.mmap(4 * BLOCK, RW, FIXED, addr=START)
    mm.madvise(START, 2 * BLOCK, abi.MADV_HUGEPAGE)
    mm.write(START, b"huge")
    mm.write(START + 2 * BLOCK - 3 * PAGE, b"small" * PAGE)
    mm.madvise(START + 2 * BLOCK, 4 * PAGE, abi.MADV_PAGEOUT)
    mm.madvise(START + 2 * BLOCK + 8 * PAGE, 2 * PAGE, abi.MADV_GUARD_INSTALL)
    file = tank.file("/memfd:file", contents=b"file" * 4 * PAGE)
    mm.mmap(16 * PAGE, RW, abi.MAP_SHARED | abi.MAP_FIXED, addr=START + 4 * BLOCK, file=file)
    mm.write(START + 4 * BLOCK, b"shared" * PAGE)
    mm.mmap(BLOCK, RW, FIXED | abi.MAP_HUGETLB, addr=START + 6 * BLOCK)
    mm.write(START + 6 * BLOCK, b"pool")
    return mm


SCENES: dict[str, Callable[[Tank, Mm], Any]] = {
    "mmap over": lambda tank, mm: mm.mmap(3 * BLOCK, RW, FIXED | abi.MAP_POPULATE, addr=START + BLOCK),
    "mmap hugetlb": lambda tank, mm: mm.mmap(BLOCK, RW, FIXED | abi.MAP_HUGETLB, addr=START + 7 * BLOCK),
    "munmap": lambda tank, mm: mm.munmap(START + PAGE, 6 * BLOCK - PAGE),
    "mprotect": lambda tank, mm: mm.mprotect(START + PAGE, 3 * BLOCK, abi.PROT_READ),
    "mremap": lambda tank, mm: mm.mremap(START + PAGE, BLOCK, 2 * BLOCK, abi.MREMAP_MAYMOVE),
    "mremap tables": lambda tank, mm: mm.mremap(START, 3 * BLOCK, 3 * BLOCK, 3, START + 16 * BLOCK),
    "mlock": lambda tank, mm: mm.mlock(START + PAGE, 2 * BLOCK),
    "fork": lambda tank, mm: mm.fork(),
    "exit": lambda tank, mm: mm.exit(),
    "write": lambda tank, mm: mm.write(START + BLOCK - PAGE, b"w" * (BLOCK + 4 * PAGE)),
    "read": lambda tank, mm: mm.read(START, 2 * BLOCK + 8 * PAGE),
    "kernel_write": lambda tank, mm: mm.kernel_write(START + 2 * BLOCK, b"k" * 12 * PAGE),
    "hugetlb fault": lambda tank, mm: mm.fork().write(START + 6 * BLOCK, b"copy"),
    "pageout": lambda tank, mm: mm.madvise(START, 4 * BLOCK, abi.MADV_PAGEOUT),
    "pageout of a file": lambda tank, mm: mm.madvise(START + 4 * BLOCK, 16 * PAGE, abi.MADV_PAGEOUT),
    "free": lambda tank, mm: mm.madvise(START, 4 * BLOCK, abi.MADV_FREE),
    "collapse": lambda tank, mm: mm.madvise(START + BLOCK, BLOCK, abi.MADV_COLLAPSE),
    "guards": lambda tank, mm: mm.madvise(START + PAGE, 3 * BLOCK, abi.MADV_GUARD_INSTALL),
    "dontneed": lambda tank, mm: mm.madvise(START + PAGE, 3 * BLOCK, abi.MADV_DONTNEED),
    "flags that merge": lambda tank, mm: mm.madvise(START, 2 * BLOCK, abi.MADV_NORMAL),
    "nohugepage": lambda tank, mm: mm.madvise(START + PAGE, 3 * BLOCK, abi.MADV_NOHUGEPAGE),
    "register_wp": lambda tank, mm: mm.register_wp(START, 4 * BLOCK),
    "unregister": lambda tank, mm: mm.uffdio_unregister(START, 4 * BLOCK),
    "truncate": lambda tank, mm: tank.machine.truncate(tank.files[0], PAGE),
    "punch_hole": lambda tank, mm: tank.machine.punch_hole(tank.files[0], 0, 4 * PAGE),
    "file": lambda tank, mm: tank.files[0].write(0, b"f" * 16 * PAGE),
    "a new file": lambda tank, mm: tank.machine.file(contents=b"f" * 4 * PAGE),
    "a new process": lambda tank, mm: tank.machine.mm(),
}


def and_after(tank: Tank, mm: Mm, scene: str) -> None:
    """What was interrupted can be done now, unless it was done already, and everything can end."""
    usable(tank)
    with suppress(PagewalkError):
        made = SCENES[scene](tank, mm)
        if scene == "a new file":
            tank.files.append(made)
    usable(tank)
    tank.empty()


class TestAllocations:
    """Ctrl-C at an allocation of frames."""

    @pytest.mark.parametrize("scene", SCENES)
    def test_at_each_in_turn(self, scene: str) -> None:
        for number in range(1, MANY):
            tank = new_tank()
            mm = world(tank)
            try:
                with failing(tank.machine, counted([number]), KeyboardInterrupt):
                    SCENES[scene](tank, mm)
            except KeyboardInterrupt:
                and_after(tank, mm, scene)
            else:
                return
        pytest.fail(f"it still allocates after {MANY} frames")

    def test_a_table_set_aside_is_not_lost(self) -> None:
        """A huge page's table is set aside first; then the huge page cannot be had."""
        tank = new_tank("always")
        mm = tank.mm()
        mm.mmap(4 * BLOCK, RW, FIXED, addr=START)
        mm.write(START, b"x")
        with failing(tank.machine, counted([2]), KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            mm.write(START + BLOCK, b"x")
        assert len(mm.tables.deposits) == 1
        usable(tank)


@contextmanager
def raising_at(number: int) -> Iterator[list[str]]:
    """Raise at a line of the model's code, counted as they are run; tells where that was."""
    left, where = number, list[str]()

    def at_line(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            code, line = frame.f_code, frame.f_lineno
            if left <= 0 and not where and not _leaves_a_block(code.co_filename, line):
                where.append(f"{Path(code.co_filename).name}:{line}")
                raise KeyboardInterrupt
        return at_line

    def at_call(frame: FrameType, event: str, arg: object) -> Any:
        name = frame.f_code.co_filename
        return at_line if name.startswith(MODEL) and name != LOCKING else None

    sys.settrace(at_call)
    try:
        yield where
    finally:
        sys.settrace(None)


def _leaves_a_block(name: str, line: int) -> bool:
    """A ``with`` line is told of once more when its block is left. Nothing is interrupted there but by a trace."""
    return linecache.getline(name, line).lstrip().startswith("with ")


class TestLines:
    """Ctrl-C between two lines of the model's code."""

    @pytest.mark.parametrize("scene", SCENES)
    def test_at_lines_drawn_at_random(self, scene: str) -> None:
        rng, limit = random.Random(scene), 2000
        for _ in range(6):
            tank = new_tank()
            mm = world(tank)
            number = rng.randrange(1, max(limit, 2))
            before = sys.gettrace()
            with raising_at(number) as where:
                try:
                    SCENES[scene](tank, mm)
                except KeyboardInterrupt:
                    assert where
                except PagewalkError:
                    where.clear()
            sys.settrace(before)
            if not where:
                limit = limit * 2 // 3
                continue
            try:
                and_after(tank, mm, scene)
            except Exception as error:
                raise AssertionError(f"{scene}, interrupted at line {number} that was run, {where[0]}") from error


@contextmanager
def alarm(delay: float) -> Iterator[None]:
    """A real signal after a time, as Ctrl-C is one; not after the block.

    What is raised in a callback of a weak reference is printed and lost, by Python's own rule: the signal comes a
    moment later then.
    """
    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        if not armed:
            return
        if frame is not None and frame.f_code.co_filename == _weakrefset.__file__:
            signal.setitimer(signal.ITIMER_REAL, 1e-5)
            return
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    gc.disable()  # what hits a callback of the collector, such as Hypothesis's, is printed and lost
    signal.setitimer(signal.ITIMER_REAL, delay)
    try:
        yield
    finally:
        armed = False
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class TestSignals:
    """Ctrl-C itself, at a moment drawn at random, in a call drawn at random."""

    @pytest.mark.parametrize("seed", range(4))
    def test_any_call_at_any_moment(self, seed: int) -> None:
        tank = new_tank(POLICIES[seed % 3])
        begin(tank)
        draw = Draw(random.Random(seed), tank)
        for _ in range(100):
            name = draw.rng.choice(OFTEN)
            try:
                with alarm(10 ** draw.rng.uniform(-5, -2.5)):
                    CALLS[name](draw)
            except PagewalkError:
                continue
            except KeyboardInterrupt:
                usable(tank)
        usable(tank)
        tank.empty()
