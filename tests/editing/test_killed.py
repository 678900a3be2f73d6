"""A commit, a recovery and an undo that are killed at every write and every sync: old words, new ones, or recoverable.

A child does the work, and kills itself (SIGKILL) at one step: before it, in the middle of what it writes, or after it.
Whatever it was at, memory must then be what it was or what was planned, or ``recover`` must make it what it was; and
``recover``, killed at any step of its own, must still do so when it is called again.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pagewalk import PageTables, edit, find_format, recover, undo
from pagewalk.editing.journal import Journal
from pagewalk.memory import RawImage, write_to

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = 96
MOMENTS = ("before", "within", "after")
LEAST = {"commit": 60, "undo": 30, "recover": 24, "copy": 30}
"""Points of each format at least: 432 of all three."""


class Steps:
    """Counts what reaches a file, and ends the process at one step.

    Args:
        fatal: The step, counted from 0; -1: none.
        moment: Before it, within it or after it.
    """

    def __init__(self, fatal: int, moment: str) -> None:
        self.count, self._fatal, self._moment = 0, fatal, moment
        self._write, self._fsync, self._replace = os.write, os.fsync, Path.replace
        self._memory, self._sync = RawImage.write, RawImage.sync

    def install(self) -> None:
        """Take the place of what writes and syncs."""
        places: list[tuple[Any, str, Any, Any]] = [
            (os, "write", self._write, self._half_write),
            (os, "fsync", self._fsync, None),
            (Path, "replace", self._replace, None),
            (RawImage, "write", self._memory, self._half_memory),
            (RawImage, "sync", self._sync, None),
        ]
        for where, name, real, half in places:
            setattr(where, name, self._wrapped(real, half))

    def _wrapped(self, real: Any, half: Any) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            number, self.count = self.count, self.count + 1
            if number != self._fatal:
                return real(*arguments)
            if self._moment == "within" and half is not None:
                half(*arguments)
            if self._moment == "after":
                real(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return step

    def _half_write(self, fd: int, data: bytes) -> None:
        self._write(fd, memoryview(data)[: len(data) // 2])

    def _half_memory(self, memory: RawImage, paddr: int, data: bytes) -> None:
        self._memory(memory, paddr, data[: len(data) // 2 + 3])  # a word in part, too


def done_by_child(work: Callable[[], object], fatal: int = -1, moment: str = "before") -> int:
    """Do work in a child that is killed at a step; how many steps there were, -1 if it was killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reader)
            steps = Steps(fatal, moment)
            steps.install()
            work()
            steps._write(writer, str(steps.count).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return -1
    assert os.WEXITSTATUS(status) == 0, "the child failed"
    return int(text)


@dataclass
class Case:
    """An image with page tables, and a change of it.

    Attributes:
        image, journal: Files.
        name: The format.
        old, new: What the image holds before and after.
    """

    image: Path
    journal: Path
    name: str
    old: bytes = b""
    new: bytes = b""

    def tables(self, *, writable: bool) -> PageTables:
        form = find_format(self.name)
        return PageTables(RawImage(self.image, writable=writable), None, form, windows=form.windows[:1])

    def change(self, *, to: Path | None = None, journal: bool = True) -> None:
        """Everything a change can do to words: fill, alter, split, empty, link and unlink."""
        tables = self.tables(writable=to is None)
        size = tables.format.page_size
        change = edit(tables, frames=[(16 * size, 40 * size)])
        change.install(64 * size, 50 * size, 3 * size, "rwxu")
        change.protect(8 * size, size, "r-xu")
        change.unmap(1 << (tables.format.last.shift + tables.format.last.index_bits), size, free_tables=True)
        change.install(3 << (tables.format.last.shift + tables.format.last.index_bits), 60 * size, size, "rwxu")
        change.commit(journal=self.journal if journal else None, to=to)

    def undone(self) -> None:
        undo(self.journal)

    def recovered(self) -> None:
        recover(self.journal)

    def reset(self, data: bytes, journal: bytes | None = None) -> None:
        """The files as they were at some moment."""
        self.image.write_bytes(data)
        self.journal.unlink(missing_ok=True)
        if journal is not None:
            self.journal.write_bytes(journal)


@pytest.fixture(params=["x86-64", "arm64-4k", "ia32"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    case = Case(tmp_path / "image", tmp_path / "journal", request.param)
    form = find_format(request.param)
    size = form.page_size
    case.image.write_bytes(b"\x5a" * size * PAGES)
    tables = case.tables(writable=True)
    write_to(tables.memory, 0, bytes(size))
    with edit(tables, frames=[(size, 16 * size)]) as change:
        change.install(8 * size, 48 * size, 2 * size, "rwxu")
        change.install(1 << (form.last.shift + form.last.index_bits), 55 * size, size, "rwxu")
        change.commit()
    tables.close()
    case.old = case.image.read_bytes()
    case.change()
    case.new = case.image.read_bytes()
    assert case.old != case.new
    undo(case.journal)
    assert case.image.read_bytes() == case.old
    return case


def killed_everywhere(case: Case, work: Callable[[], object], start: Callable[[], object], what: str):
    """Kill work at every step and moment, from the same start each time."""
    start()
    steps = done_by_child(work)
    assert steps * len(MOMENTS) >= LEAST[what]
    for number in range(steps):
        for moment in MOMENTS:
            start()
            assert done_by_child(work, number, moment) == -1
            yield f"{what} {number} {moment}"


def test_commit(case: Case) -> None:
    for point in killed_everywhere(case, case.change, lambda: case.reset(case.old), "commit"):
        now = case.image.read_bytes()
        if not case.journal.exists():
            assert now == case.old, point
            continue
        state = Journal.load(case.journal).state
        if not state:
            assert now == case.old, point
        if state == "committed":
            assert now == case.new, point
            recover(case.journal)
            assert case.image.read_bytes() == case.new, point
            continue
        recover(case.journal)
        assert case.image.read_bytes() == case.old, point
        assert not case.journal.exists() or Journal.load(case.journal).state == "undone"


def test_undo(case: Case) -> None:
    case.reset(case.old)
    case.change()
    journal = case.journal.read_bytes()
    for point in killed_everywhere(case, case.undone, lambda: case.reset(case.new, journal), "undo"):
        state, now = Journal.load(case.journal).state, case.image.read_bytes()
        if state == "committed":
            assert now == case.new, point
            continue
        recover(case.journal)
        assert case.image.read_bytes() == case.old, point
        assert Journal.load(case.journal).state == "undone"


def test_recover_after_a_kill_in_the_middle(case: Case) -> None:
    """From the worst place, half of the words written, recovery is killed at every step, and called again."""
    case.reset(case.old)
    steps = done_by_child(case.change)
    places = []
    for number in range(steps):
        case.reset(case.old)
        done_by_child(case.change, number, "within")
        if case.image.read_bytes() not in (case.old, case.new):
            places.append((case.image.read_bytes(), case.journal.read_bytes()))
    assert places
    torn, journal = places[len(places) // 2]
    for point in killed_everywhere(case, case.recovered, lambda: case.reset(torn, journal), "recover"):
        recover(case.journal)
        assert case.image.read_bytes() == case.old, point


def test_a_copy(case: Case, tmp_path: Path) -> None:
    """Without a journal a copy is there whole, or not at all."""
    target = tmp_path / "copy"

    def start() -> None:
        for path in (target, *tmp_path.glob("*.part")):
            path.unlink(missing_ok=True)

    for point in killed_everywhere(case, lambda: case.change(to=target, journal=False), start, "copy"):
        assert case.image.read_bytes() == case.old, point
        assert not target.exists() or target.read_bytes() == case.new, point
