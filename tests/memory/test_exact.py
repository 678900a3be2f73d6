"""A memory that somebody else wrote, and that does not keep its promise: one kind of error, whoever asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.memory import Segment, read_exactly
from pagewalk.sweep import count, install
from pagewalk.sweep import walk as batch_walk
from pagewalk.testing import check_memory
from tests.world import M, World

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = 0x4000_0000
READ = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: None)

WAYS: dict[str, Callable[[pw.PageTables], Any]] = {
    "translate": lambda tables: tables.translate(BASE),
    "steps": lambda tables: list(tables.steps(BASE)),
    "read": lambda tables: tables.read(BASE, 8),
    "pw.translate": lambda tables: pw.translate(tables, [BASE]),
    "mappings": lambda tables: pw.mappings(tables, BASE, BASE + 2 * M),
    "holes": lambda tables: pw.holes(tables, BASE, BASE + 2 * M),
    "count": lambda tables: count(tables, BASE, BASE + 2 * M),
    "walk": lambda tables: pw.walk_page_range_novma(tables, BASE, BASE + 2 * M, READ),
    "batch walk": lambda tables: batch_walk(tables, BASE, BASE + 2 * M, pte_tables=lambda entries, addr: None),
    "install": lambda tables: install(tables, BASE, BASE + 2 * M, 7),
    "cached": lambda tables: pw.PageTables(pw.CachedMemory(tables.memory), 0).translate(BASE),
}
FINDING = {
    "mappings": lambda tables, found: pw.mappings(tables, BASE, BASE + 2 * M, findings=found),
    "holes": lambda tables, found: pw.holes(tables, BASE, BASE + 2 * M, findings=found),
    "pw.translate": lambda tables, found: pw.translate(tables, [BASE], findings=found),
    "walk": lambda tables, found: pw.walk_page_range_novma(tables, BASE, BASE + 2 * M, READ, findings=found),
}


class Theirs:
    """The smallest memory there is, and what it makes of its answers after ``sound`` good ones, ``bad`` times."""

    def __init__(self, ram: pw.Ram, twist: Callable[[bytes], Any], sound: int = 0, bad: int = 1 << 30) -> None:
        self.ram, self.twist, self.sound, self.bad = ram, twist, sound, bad

    def read(self, paddr: int, size: int) -> Any:
        data = self.ram.read(paddr, size)
        self.sound -= 1
        if self.sound >= 0 or self.sound < -self.bad:
            return data
        return self.twist(data)

    def write(self, paddr: int, data: bytes) -> None:
        self.ram.write(paddr, data)


def boom(data: bytes) -> bytes:
    raise IndexError("out of luck\n")


TWISTS = {
    "8 bytes": (lambda data: data[:8] if len(data) > 8 else data[:4], "answered [48] bytes"),
    "nothing": (lambda data: b"", "answered 0 bytes"),
    "one too many": (lambda data: data + b"\0", r"answered (9|4097) bytes"),
    "None": (lambda data: None, "answered None, not bytes"),
    "a str": (lambda data: data.decode("latin-1"), "answered '.*', not bytes"),
    "a list": (list, r"answered \[.*\], not bytes"),
    "an int": (lambda data: 8, "answered 8, not bytes"),
    "another exception": (boom, r"read raised IndexError: 'out of luck\\n'"),
}


@pytest.fixture
def ram() -> pw.Ram:
    world = World(ram=1 * M)
    world.map(BASE, 64 << 10)
    return world.memory


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("twist", TWISTS)
def test_one_kind_of_error_for_all_ways_in(ram: pw.Ram, way: str, twist: str) -> None:
    """Neither broadcast into a whole table, nor cut, nor ``struct.error``."""
    answer, says = TWISTS[twist]
    with pytest.raises(pw.MemoryReadError, match=f"cannot read .* bytes at physical 0x.*{says}") as caught:
        WAYS[way](pw.PageTables(Theirs(ram, answer), 0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", FINDING)
def test_a_broken_memory_is_no_finding(ram: pw.Ram, way: str) -> None:
    """Findings are about the tables: who collects them hears of a memory that does not answer at once."""
    found: list[pw.TranslationError] = []
    with pytest.raises(pw.MemoryReadError):
        FINDING[way](pw.PageTables(Theirs(ram, lambda data: data[:8]), 0), found)
    assert found == []


@settings(deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.sampled_from(sorted(TWISTS)), st.integers(0, 12), st.sampled_from([1, 99]))
def test_whenever_it_begins(way: str, twist: str, sound: int, bad: int) -> None:
    """A memory that breaks off later, or once only: the answer is right, or the error is the same one."""
    world = World(ram=1 * M)
    world.map(BASE, 64 << 10)
    before = world.memory.read(0, 1 * M)
    theirs = Theirs(world.memory, TWISTS[twist][0], sound, bad)
    try:
        got = repr(WAYS[way](pw.PageTables(theirs, 0)))  # an entry asks again when it is looked at
    except pw.MemoryReadError:
        if way != "install":
            assert world.memory.read(0, 1 * M) == before
        return
    assert got == repr(WAYS[way](pw.PageTables(Theirs(world.memory, bytes), 0))) or way == "install"


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_bytes_in_another_dress_are_taken(ram: pw.Ram, kind: Callable[[bytes], Any]) -> None:
    tables = pw.PageTables(Theirs(ram, kind), 0)
    assert tables.translate(BASE).paddr == 64 << 10
    assert pw.translate(tables, [BASE])[0].tolist() == [64 << 10]


def test_bytes_that_are_not_there_stay_a_matter_of_the_tables(ram: pw.Ram) -> None:
    """A memory that says so keeps its promise: the table is outside it."""
    (*_, entry) = pw.PageTables(ram, 0).steps(BASE)
    hole = Theirs(pw.Ram(8 << 10), bytes)
    hole.ram.write(0, ram.read(0, 8 << 10))
    tables = pw.PageTables(hole, 0)
    for ask in (WAYS["translate"], WAYS["mappings"], WAYS["pw.translate"]):
        with pytest.raises(pw.Malformed, match="is not in memory"):
            ask(tables)
    assert entry.level.name == "PTE"


def test_an_error_of_pagewalks_own_goes_through() -> None:
    class Gone:
        def read(self, paddr: int, size: int) -> bytes:
            raise pw.ProcessError(3, "gone")

    with pytest.raises(pw.ProcessError):
        read_exactly(Gone(), 0, 8)


def test_a_view_of_another_size_is_refused_too(ram: pw.Ram) -> None:
    class ShortView(pw.FlatMemory):
        def view(self, paddr: int, size: int) -> memoryview | None:
            return self.segments[0].data[paddr : paddr + 8]

    memory = ShortView([Segment(0, memoryview(ram.read(0, 1 * M)))])
    with pytest.raises(pw.MemoryReadError, match="view showed 8 bytes"):
        pw.PageTables(memory, 0).translate(BASE)


@pytest.mark.parametrize("twist", TWISTS)
def test_the_kit_finds_such_a_memory(ram: pw.Ram, twist: str) -> None:
    with pytest.raises(AssertionError, match="broken promise"):
        check_memory(Theirs(ram, TWISTS[twist][0]), 0, 1 * M)
