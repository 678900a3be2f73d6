"""The scalar walk, an entry at a time: what one costs with a callback that does next to nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pagewalk as pw
from benchmarks.frame import Benchmark, Case
from pagewalk.walk.ranges import walk_page_range_novma_mm

ENTRIES = 1 << 18
START, END = 1 << 30, (1 << 30) + (ENTRIES << 12)
GUARD = pw.find_format("x86-64").software.guard_entry

Prepared = tuple[int, Callable[[], object]]


def tables() -> pw.PageTables:
    """Empty tables that may grow."""
    ram = pw.Ram(16 << 20)
    return pw.PageTables(ram, 0, allocator=pw.RangeAllocator((4096, 16 << 20)))


def install(into: pw.PageTables) -> None:
    """Fill the range with a constant."""
    warnings.simplefilter("ignore", RuntimeWarning)
    walk_page_range_novma_mm(into, START, END, pw.WalkOps(install_pte=lambda addr, next_, walk: GUARD))


def walking(pte_entry: Callable[[pw.Entry, int, int, pw.Walk], None]) -> Prepared:
    """A walk over the filled range."""
    filled = tables()
    install(filled)
    ops = pw.WalkOps(pte_entry=pte_entry)
    return ENTRIES, lambda: pw.walk_page_range_novma(filled, START, END, ops)


def trivial() -> Prepared:
    return walking(lambda entry, addr, next_, walk: None)


def reading() -> Prepared:
    def pte_entry(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
        entry.value  # noqa: B018 - reading it is what is measured

    return walking(pte_entry)


def decoding() -> Prepared:
    def pte_entry(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
        entry.kind  # noqa: B018 - decoding it is what is measured

    return walking(pte_entry)


def installing() -> Prepared:
    empty = tables()
    return ENTRIES, lambda: install(empty)


BENCHMARK = Benchmark(
    "The walk over a dense range (aim: at most 1,000 ns an entry)",
    "entries",
    (
        Case("pte_entry that returns", trivial),
        Case("pte_entry that reads entry.value", reading),
        Case("pte_entry that decodes entry.kind", decoding),
        Case("install_pte of a constant, tables included", installing),
    ),
)
