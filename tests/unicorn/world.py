"""Random tables with rights on every level, in memory that a processor can be given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pagewalk as pw
from pagewalk.formats import Kind
from pagewalk.formats.fields import KEY, RIGHTS

if TYPE_CHECKING:
    from random import Random

    from pagewalk.formats import Level, Window
    from pagewalk.formats.registers import Paging

SIZE = 1 << 19
STATE = (RIGHTS, KEY, "accessed", "dirty", "global")
"""Fields of a page that are set by chance; others have no part in what is allowed."""


@dataclass
class World:
    """Tables by registers, and addresses at which something was put."""

    paging: Paging
    base: int
    ram: pw.Ram
    next_table: int
    places: list[int] = field(default_factory=list)

    @property
    def tables(self) -> pw.PageTables:
        return pw.PageTables(self.ram, format=self.paging.format, windows=self.paging.windows)

    def put(self, paddr: int, entry: int) -> None:
        self.ram.write(paddr, entry.to_bytes(8, "little"))

    def word(self, paddr: int) -> int:
        return int.from_bytes(self.ram.read(paddr, 8), "little")

    def slot(self, window: Window, vaddr: int, target: Level, rng: Random) -> int | None:
        """Where the entry of an address lies, tables made on the way; None where a page is in the way."""
        at = window.root
        for level in (one for one in self.paging.format.levels_of(window) if not one.folded):
            slot = at + 8 * level.index(vaddr)
            if level is target:
                return slot
            entry = self.word(slot)
            if not entry:
                self.next_table += 4096
                assert self.next_table < self.base + SIZE
                entry = by_chance(level, level.table(self.next_table), rng, (RIGHTS,))
                self.put(slot, entry)
            if level.kind(entry) is not Kind.TABLE:
                return None
            at = level.frame(entry)
        raise AssertionError("no such level")


def by_chance(level: Level, entry: int, rng: Random, names: tuple[str, ...]) -> int:
    """An entry with some fields by chance, half of their bits as they were; what it holds stays."""
    found = level.decode(entry)
    mask = sum(one.mask for one in found.row.fields if one.name in names and not one.derived)
    for _ in range(20):
        made = entry ^ rng.getrandbits(64) & rng.getrandbits(64) & mask
        if level.decode(made).kind in (found.kind, Kind.RESERVED):
            return made
    return entry


def build(paging: Paging, base: int, root: int, rng: Random) -> World:
    """Pages of every size at some addresses that share tables with one another.

    Args:
        paging: Format and windows.
        base: Where the memory begins.
        root: The highest address that a root has.
        rng: Where chance comes from.
    """
    world = World(paging, base, pw.Ram(SIZE, base), root)
    for _ in range(8):
        window = rng.choice(paging.windows)
        levels = [level for level in paging.format.levels_of(window) if not level.folded]
        target = rng.choice([*(level for level in levels if level.may_be_leaf), levels[-1]])
        vaddr = 0
        for level in levels[: levels.index(target) + 1]:
            vaddr |= rng.choice((0, 1, level.entries - 1)) << level.shift
        vaddr = window.start | vaddr & window.end - window.start - 1
        slot = world.slot(window, vaddr, target, rng)
        world.places.append(vaddr | base & target.span - 1 | rng.getrandbits(12))  # the frame lies in the memory
        if slot is None or world.word(slot) or rng.random() < 0.05:
            continue
        frame = base & -target.span if target is not levels[-1] else base + (rng.randrange(SIZE) & -4096)
        flags = pw.Flag.READ | pw.Flag.WRITE | pw.Flag.EXEC | pw.Flag.USER | pw.Flag.ACCESSED | pw.Flag.DIRTY
        world.put(slot, by_chance(target, target.page(frame, flags), rng, STATE))
    return world
