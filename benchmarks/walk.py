"""The scalar walk, an entry at a time: what one costs with a callback that does next to nothing."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import pagewalk as pw
from benchmarks import engine
from benchmarks.frame import Benchmark, Case, Job
from benchmarks.images import USER, Image
from pagewalk.walk.ranges import walk_page_range_novma_mm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.frame import Scale

    Callback = Callable[[pw.Entry, int, int, pw.Walk], None]

START = 1 << 30
GUARD = 0xFFFF_FFFF_FFFF_F600


class Place:
    """Tables that may grow, and a range in them.

    Args:
        entries: How long the range is.
    """

    def __init__(self, entries: int) -> None:
        self.size = (entries * 16 + (1 << 16)) & -4096
        self.end = START + (entries << 12)
        self.empty()

    def empty(self) -> None:
        """New tables."""
        self.tables = pw.PageTables(pw.Ram(self.size), 0, allocator=pw.RangeAllocator((4096, self.size)))

    def install(self) -> None:
        """Fill the range with a constant."""
        warnings.simplefilter("ignore", RuntimeWarning)
        ops = pw.WalkOps(install_pte=lambda addr, next_, walk: GUARD)
        walk_page_range_novma_mm(self.tables, START, self.end, ops)

    def walk(self, callback: Callback) -> None:
        """Walk the range."""
        pw.walk_page_range_novma(self.tables, START, self.end, pw.WalkOps(pte_entry=callback))

    def markers(self, _: object = None) -> int:
        """How many guard markers a walk meets."""
        seen = 0

        def pte_entry(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            nonlocal seen
            seen += entry.value == GUARD

        self.walk(pte_entry)
        return seen


def returning(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
    """Do nothing."""


def reading(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
    """Read the raw value."""
    entry.value  # noqa: B018 - reading it is what is measured


def decoding(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
    """Decode it."""
    entry.kind  # noqa: B018 - decoding it is what is measured


def decoding_all(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
    """Ask what it is and what may be done to it."""
    entry.kind  # noqa: B018 - decoding them is what is measured
    entry.flags  # noqa: B018


def walking(entries: int, folder: Path, *, callback: Callback) -> Job:
    """A walk over a filled range."""
    place = Place(entries)
    place.install()
    return Job(entries, lambda: place.walk(callback), place.markers, entries)


class Pages:
    """A mixed image, and what a walk of its user pages meets.

    Args:
        image: The image.
        folder: Where it is.
        entries: So many slots are walked.
    """

    def __init__(self, image: Image, folder: Path, entries: int) -> None:
        self.tables = engine.tables(image, folder)
        self.end = USER + (entries << 12)

    def walk(self, callback: Callback) -> None:
        """Walk them."""
        pw.walk_page_range_novma(self.tables, USER, self.end, pw.WalkOps(pte_entry=callback))

    def met(self, _: object = None) -> list[int]:
        """How many entries of each kind the scalar walk meets."""
        found = [0] * len(pw.Kind)

        def pte_entry(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            found[entry.kind] += 1

        self.walk(pte_entry)
        return found


def mixed(image: Image, entries: int, folder: Path, *, callback: Callback) -> Job:
    """A walk over the user pages of a mixed image."""
    place = Pages(image, folder, entries)
    kinds = engine.sweep.mappings(place.tables, USER, place.end, coalesce=False).kind
    expected = np.bincount(kinds, minlength=len(pw.Kind)).tolist()
    expected[pw.Kind.NONE] = place.met()[pw.Kind.NONE]
    return Job(sum(expected), lambda: place.walk(callback), place.met, expected)


def installing(entries: int, folder: Path) -> Job:
    """A walk that fills an empty range."""
    place = Place(entries)
    return Job(entries, place.install, place.markers, entries, place.empty)


def benchmarks(scale: Scale) -> list[Benchmark]:
    """Two."""
    over = partial(walking, scale.walked)
    cases = (
        Case("pte_entry that returns", partial(over, callback=returning)),
        Case("pte_entry that reads entry.value", partial(over, callback=reading)),
        Case("pte_entry that decodes entry.kind", partial(over, callback=decoding)),
        Case("install_pte of a constant, tables included", partial(installing, scale.walked)),
    )
    image = Image("mixed", scale.pages)
    over = partial(mixed, image, min(scale.walked, scale.pages // 4))
    kinds = (
        Case("pte_entry that returns", partial(over, callback=returning)),
        Case("pte_entry that decodes entry.kind", partial(over, callback=decoding)),
        Case("pte_entry that decodes entry.kind and flags", partial(over, callback=decoding_all)),
    )
    return [
        Benchmark("The scalar walk", "entries", cases),
        Benchmark("The scalar walk: mixed", "entries", kinds, (image,)),
    ]
