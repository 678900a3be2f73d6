"""Plans: a change of page tables made and listed, beside the same pages installed at once with nothing to take back."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import pagewalk as pw
from benchmarks import engine
from benchmarks.frame import Benchmark, Case, Job

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.frame import Scale

PAGES = 1_000_000
VADDR, PADDR = 1 << 45, 1 << 32
RIGHTS = pw.Flag.READ | pw.Flag.WRITE | pw.Flag.USER | pw.Flag.ACCESSED | pw.Flag.DIRTY


class Work:
    """Empty page tables in RAM of their own, and pages that are to be mapped one after the other.

    Args:
        pages: How many.
    """

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.renew()

    def renew(self) -> None:
        """Empty tables."""
        ram = pw.Ram((self.pages // 512 + self.pages // (512 * 512) + 8) * 4096)
        self.tables = pw.PageTables(ram, 0, allocator=pw.RangeAllocator((4096, len(ram.segments[0].data))))

    def install(self) -> int:
        """What ``sweep.install`` takes: the entries are made too."""
        paddrs = np.arange(self.pages, dtype=np.uint64) * np.uint64(4096) + np.uint64(PADDR)
        entries = self.tables.format.last.page(paddrs, int(RIGHTS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that no hook runs
            engine.sweep.install(self.tables, VADDR, VADDR + self.pages * 4096, entries)
        return self.pages

    def plan(self) -> int:
        """A change with its plan."""
        change = pw.edit(self.tables)
        change.install(VADDR, PADDR, self.pages * 4096, "rw-u")
        return len(change.plan()) // self.pages * self.pages

    def words(self) -> int:
        """The same, with each word listed."""
        change = pw.edit(self.tables)
        change.install(VADDR, PADDR, self.pages * 4096, "rw-u")
        return len(change.plan().words) // self.pages * self.pages


def planning(pages: int, folder: Path, *, what: str) -> Job:
    """One of them."""
    work = Work(pages)
    return Job(pages, getattr(work, what), lambda found: found, pages, work.renew)


def benchmarks(scale: Scale) -> list[Benchmark]:
    """All of them."""
    pages = min(PAGES, scale.pages)
    cases = (
        Case("pagewalk, sweep.install, in place", partial(planning, pages, what="install")),
        Case("pagewalk, edit: install, plan", partial(planning, pages, what="plan")),
        Case("pagewalk, edit: install, plan, every word", partial(planning, pages, what="words")),
    )
    return [Benchmark(f"A plan for {pages:,} pages", "pages", cases)]
