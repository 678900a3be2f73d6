"""Capturing a process, against reading the same process's pagemap and doing nothing with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pagewalk as pw
from benchmarks.frame import Benchmark, Case, Job, Missing
from pagewalk.live import capture

if TYPE_CHECKING:
    from benchmarks.frame import Scale

PAGE = 4096
HUGE = "huge pages"
"""The shape where the last huge page reaches beyond what is touched."""


class Subject:
    """A process of ``subject.py``; it ends with this one.

    Args:
        shape: What is touched in it.
        size: Bytes of its memory, a quarter of which is touched.
    """

    def __init__(self, shape: str, size: int) -> None:
        command = [sys.executable, "-S", str(Path(__file__).with_name("subject.py")), shape, str(size)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.start, self.end = json.loads(self._process.stdout.readline())

    def __del__(self) -> None:
        self._process.kill()
        self._process.communicate()


def subject(shape: str, size: int) -> Subject:
    """A process that can be captured.

    Raises:
        Missing: It cannot.
    """
    made = Subject(shape, size)
    try:
        capture(made.pid)
    except pw.PagewalkError as error:
        raise Missing(str(error)) from None
    return made


def reading(shape: str, size: int, _: Path) -> Job:
    """The pagemap of every VMA, into memory that is there."""
    process = subject(shape, size)
    ranges = [(vma.start // PAGE, vma.size // PAGE) for vma in capture(process.pid).vmas]
    words = np.ones(max(count for _, count in ranges), np.uint64)

    def work() -> int:
        pagemap = os.open(f"/proc/{process.pid}/pagemap", os.O_RDONLY)
        read = 0
        for first, count in ranges:
            view = words[:count].data.cast("B")
            at = 0
            while at < len(view):
                at += os.preadv(pagemap, [view[at:]], first * 8 + at)
            read += count
        os.close(pagemap)
        return read

    def digest(read: int) -> tuple[bool, int]:
        mine = np.zeros((process.end - process.start) // PAGE, np.uint64)
        with Path(f"/proc/{process.pid}/pagemap").open("rb", buffering=0) as pagemap:
            pagemap.seek(process.start // PAGE * 8)
            view = mine.data.cast("B")
            while len(view):
                view = view[pagemap.readinto(view) or 0 :]
        there = int(np.count_nonzero(mine >> np.uint64(63)))
        return read == sum(count for _, count in ranges), there if shape != HUGE else min(there, quarter)

    quarter = size // PAGE // 4
    return Job(size // PAGE, work, digest, (True, quarter))


def capturing(shape: str, size: int, _: Path) -> Job:
    """``capture``."""
    process = subject(shape, size)

    quarter = size // PAGE // 4

    def pages(space: pw.Capture) -> int:
        there = int(pw.mappings(space, process.start, process.end)["size"].sum()) // PAGE
        return there if shape != HUGE else min(there, quarter)

    return Job(size // PAGE, partial(capture, process.pid), pages, quarter)


def showing(shape: str, size: int, _: Path) -> Job:
    """``capture``, and what ``pagewalk live`` makes of it, but for starting it."""
    from pagewalk.report.process import process_text

    process = subject(shape, size)

    def work() -> tuple[Any, str]:
        space = capture(process.pid)
        return space, "".join(process_text(space, lambda line, _: line))

    def lines(found: tuple[Any, str]) -> bool:
        return len(found[1].partition("\n\n")[2].splitlines()) == len(found[0].vmas) + 1

    return Job(size // PAGE, work, lines, expected=True)


def benchmarks(scale: Scale) -> list[Benchmark]:
    """Processes of several shapes: large ones, one of many VMAs, and one that is all overhead."""
    size = 4 * scale.touched
    shapes = [("dense", size), ("scattered", size), ("random", size), (HUGE, size), ("many VMAs", size >> 6)]
    return [_of(shape, at) for shape, at in (*shapes, ("small", 16 * PAGE))]


def _of(shape: str, size: int) -> Benchmark:
    """One process."""
    cases = (
        Case("pagemap, read", partial(reading, shape, size)),
        Case("capture", partial(capturing, shape, size)),
        Case("capture and text, as live", partial(showing, shape, size)),
    )
    return Benchmark(f"A process, a quarter resident: {shape}", "pages", cases)
