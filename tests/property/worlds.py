"""Strategies for whole page tables: a ``World`` is RAM with random tables in it, and ranges worth walking."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

import pagewalk as pw
from tests.property.entries import ANY, LAST_LEVEL, NOT_VALID, huge
from tests.reference import SHIFT_OF, Contract, Hardware, Read, Table, model

FORMATS = {4: "x86-64", 5: "x86-64-la57"}
RAM_SIZE, TABLES, SPARE = 1 << 20, 128 << 12, 512 << 10
TABLE = 0x67  # P RW US A D, as Linux's _PAGE_TABLE
INDEXES = {0: (0, 1, 255, 256, 511), 1: (0, 1, 255, 256, 511), 2: (0, 1, 511), 3: (0, 1, 2, 511), 4: (0, 1, 255, 511)}


@dataclass
class World:
    """RAM, a root, and what was put where."""

    levels: int
    ram: pw.Ram
    base: int
    root: int = 0
    made: dict[tuple[int, int], int] = field(default_factory=dict)
    addresses: list[int] = field(default_factory=list)
    next_table: int = 0
    user: bool = False
    """Only the user's half holds something."""

    def __repr__(self) -> str:
        words = {f"{at:#x}": f"{value:#x}" for at in range(self.base, self.next_table, 8) if (value := self.word(at))}
        return f"World({self.levels} levels, root {self.root:#x}, {words})"

    def word(self, paddr: int) -> int | None:
        """One word of memory, None outside it."""
        inside = self.base <= paddr <= self.base + RAM_SIZE - 8
        return int.from_bytes(self.ram.read(paddr, 8), "little") if inside else None

    def put(self, paddr: int, value: int) -> None:
        self.ram.write(paddr, struct.pack("<Q", value))

    def new_table(self) -> int:
        paddr = self.next_table
        self.next_table += 4096
        assert paddr + 4096 <= self.base + TABLES
        return paddr

    def slot(self, vaddr: int, depth: int, rights: int = TABLE) -> int | None:
        """Where the entry of ``vaddr`` at ``depth`` lies, tables made on the way; None if a page is in the way."""
        table = self.root
        for at in Hardware(self.word, self.root, self.levels).depths():
            slot = table + 8 * (vaddr >> SHIFT_OF[self.levels][at] & 511)
            if at == depth:
                return slot
            entry = self.word(slot)
            if entry is None:  # a bad entry led out of the memory
                return None
            if not entry:
                entry = self.new_table() | rights
                self.put(slot, entry)
            if not entry & 1 or (at in (2, 3) and entry & 0x80):
                return None
            table = entry & 0x000F_FFFF_FFFF_F000
        raise AssertionError("no such depth")

    def hardware(self, physical_bits: int = 52) -> Hardware:
        return Hardware(self.word, self.root, self.levels, physical_bits)

    def model(self) -> Table:
        read: Read = self.word
        return model(read, self.root, self.levels)

    def contract(self, present: frozenset[str], **options: Any) -> Contract:
        return Contract(self.model(), self.levels, present, **options)

    def tables(
        self, fail_at: tuple[int, ...] = (), frames: int = SPARE >> 12
    ) -> tuple[pw.PageTables, pw.CountingAllocator]:
        """The tables to test, which may grow into the upper half of the RAM."""
        first = self.base + TABLES
        allocator = pw.CountingAllocator(pw.RangeAllocator((first, first + (frames << 12))), fail_at)
        return pw.PageTables(self.ram, self.root, FORMATS[self.levels], allocator=allocator), allocator

    def snapshot(self) -> bytes:
        return self.ram.read(self.base, RAM_SIZE)

    def restore(self, contents: bytes) -> None:
        self.ram.write(self.base, contents)

    def half_of(self, vaddr: int) -> tuple[int, int]:
        half = 1 << (47 if self.levels == 4 else 56)
        return (0, half) if vaddr < half else ((1 << 64) - half, 1 << 64)


def new_world(levels: int, base: int = 0) -> World:
    """Empty tables."""
    world = World(levels, pw.Ram(RAM_SIZE, base), base, next_table=base)
    world.root = world.new_table()
    return world


@st.composite
def addresses(draw: st.DrawFn, levels: int, *, user: bool = False) -> int:
    """Canonical page addresses that share tables with one another more often than not; the user's, if that is said."""
    vaddr = 0
    for depth in (0, 1, 2, 3, 4) if levels == 5 else (0, 2, 3, 4):
        vaddr |= draw(st.sampled_from(INDEXES[depth])) << SHIFT_OF[levels][depth]
    top = 47 if levels == 4 else 56
    if user:
        return vaddr & (1 << top) - 1
    return vaddr | (((1 << 64) - (1 << top)) if vaddr >> top else 0)


@st.composite
def worlds(draw: st.DrawFn, *, absent: bool = True, aliases: bool = True, pages: int = 8) -> World:
    """Sound tables: pages of every size, and with ``absent`` upper entries of all levels that are no page, no table.

    Without, they can be split wherever they are: in the user's half, where alone pages without rights are pages.
    """
    levels = draw(st.sampled_from([4, 5]))
    world = new_world(levels, draw(st.sampled_from([0, 0x8000_0000])))
    world.user = not absent
    for _ in range(draw(st.integers(0, pages))):
        vaddr = draw(addresses(levels, user=world.user))
        depth = draw(st.sampled_from([4, 4, 4, 3, 2, *([0, 1] if absent and levels == 5 else [0] if absent else [])]))
        span = 1 << SHIFT_OF[levels][depth]
        slot = world.slot(vaddr, depth, draw(st.sampled_from([TABLE, TABLE, 0x61, 0x8000_0000_0000_0065])))
        if slot is None or world.word(slot):
            continue
        value = draw(_held(depth, absent=absent))
        world.put(slot, value)
        world.addresses.append(vaddr & -span)
        if draw(st.booleans()):
            _neighbours(draw, world, slot, value, span)
        if aliases and draw(st.booleans()):
            _alias(draw, world, vaddr)
    return world


def _held(depth: int, *, absent: bool) -> st.SearchStrategy[int]:
    """What a slot holds that is no table. At levels without pages, whatever is not valid: it stands for no page."""
    if depth < 2:
        return NOT_VALID
    return LAST_LEVEL if depth == 4 else huge(SHIFT_OF[4][depth], absent=absent)


def _neighbours(draw: st.DrawFn, world: World, slot: int, value: int, span: int) -> None:
    """Put likes of an entry into the empty slots behind it: the same frame, the one that follows, another flag."""
    steps = st.tuples(
        st.sampled_from([0, 0, span, span, -span]), st.sampled_from([0, 0, 0, 0x20, 0x800, 1 << 52, 1 << 52])
    )
    for step, flag in draw(st.lists(steps, min_size=1, max_size=6)):
        slot += 8
        value = (value + step) % (1 << 64) ^ flag
        if not slot % 4096 or world.word(slot):
            return
        world.put(slot, value)


def _alias(draw: st.DrawFn, world: World, vaddr: int) -> None:
    """Let another entry of the same level point to a table that is there, and its neighbours too."""
    depth = draw(st.sampled_from([3, 2, 0] if world.levels == 5 else [3, 2]))
    there, other = world.slot(vaddr, depth), draw(addresses(world.levels, user=world.user))
    entry = world.word(there) if there is not None else None
    slot = world.slot(other, depth)
    if not entry or entry & 0x81 != 1 or slot is None:
        return
    for at in range(slot, slot + 8 * draw(st.sampled_from([1, 1, 2, 9])), 8):
        if world.word(at) or (at != slot and not at % 4096):
            return
        world.put(at, entry)
        world.addresses.append(other & -(1 << SHIFT_OF[world.levels][depth]))


@st.composite
def ranges(draw: st.DrawFn, world: World, most: int | None = None) -> tuple[int, int]:
    """A page-aligned range in one half, its ends near something; ``most`` limits its bytes."""
    points = [*world.addresses, draw(addresses(world.levels, user=world.user))]
    near = st.integers(-3, 3).map(lambda pages: pages << 12)
    start = draw(st.sampled_from(points))
    low, high = world.half_of(start)
    start = min(max(start + draw(near), low), high - 4096)
    if most is not None:
        return start, min(start + (draw(st.integers(1, most >> 12)) << 12), high)
    end = draw(st.sampled_from([*(p for p in points if low <= p < high), high])) + draw(near)
    return start, min(max(end, start + 4096), high)


@st.composite
def hostile_worlds(draw: st.DrawFn) -> World:
    """Tables that nobody should trust: loops, tables nowhere, reserved bits."""
    world = draw(worlds(pages=2, aliases=False))
    for _ in range(draw(st.integers(1, 2))):
        vaddr = draw(addresses(world.levels))
        depths = world.hardware().depths()
        depth = draw(st.sampled_from(depths[:-1]))
        slot = world.slot(vaddr, depth)
        if slot is None or world.word(slot) is None:  # the first bad entry leads out of the memory
            continue
        table = slot & -4096
        shift = SHIFT_OF[world.levels][depth]
        world.put(
            slot,
            draw(
                st.one_of(
                    st.just(world.root | TABLE),
                    st.just(table | TABLE),
                    st.integers(world.base + RAM_SIZE, (1 << 52) - 1).map(lambda at: at & -4096 | TABLE),
                    st.just(1 << shift & 0x3FFF_F000 | 0xE7 | 1 << 13),
                    ANY.filter(lambda raw: raw & 1 == 1 and bool(raw & 0xFF_FFFF_F000_0000)),
                )
            ),
        )
        world.addresses.append(vaddr)
    return world


@st.composite
def worlds_and_ranges(draw: st.DrawFn, /, **options: Any) -> tuple[World, int, int]:
    """A world, and a range of it."""
    world = draw(worlds(**options))
    return world, *draw(ranges(world))
