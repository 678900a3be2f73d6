"""Random page tables of any format: pages of every size, groups, whatever a row allows; and tables nobody trusts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pagewalk.formats import Kind, Window
from pagewalk.formats.bits import scattered
from pagewalk.memory import Ram
from pagewalk.tables import PageTables
from pagewalk.testing.definition import deepest
from pagewalk.testing.entries import drawn_entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from pagewalk.formats import Level, PagingFormat, Row
    from pagewalk.testing.golden import Golden

__all__ = ["Drawn", "draw_tables"]

TABLES: Final = 48
"""Tables that a memory has room for."""
_PAGES: Final = (Kind.PRESENT, Kind.PROT_NONE)


@dataclass
class Drawn:
    """Page tables, and where something was put.

    Attributes:
        form: Their format.
        memory: Where they are.
        windows: With their roots.
        places: Virtual addresses of what was put.
        made: The tables, by address: of which level.
        hostile: Whether they may have loops, tables that are nowhere, and reserved encodings.
    """

    form: PagingFormat
    memory: Ram
    base: int
    size: int
    windows: tuple[Window, ...] = ()
    places: list[int] = field(default_factory=list)
    made: dict[int, Level] = field(default_factory=dict)
    hostile: bool = False

    def __repr__(self) -> str:
        words = {
            f"{at:#x}": f"{value:#x}"
            for table, level in self.made.items()
            for at in range(table, table + level.table_bytes, level.word.size)
            if (value := self.word(at)) and value != level.none
        }
        roots = ", ".join(f"{window.start:#x}: {window.root:#x}" for window in self.windows)
        return f"Drawn({self.form.name}, roots {{{roots}}}, {words})"

    @property
    def tables(self) -> PageTables:
        """The tables, to be looked at."""
        return PageTables(self.memory, format=self.form, windows=self.windows)

    def word(self, paddr: int) -> int | None:
        """The entry at an address, None outside the memory."""
        size = self.form.word.size
        if not self.base <= paddr <= self.base + self.size - size:
            return None
        return self.form.word.unpack(self.memory.read(paddr, size))[0]

    def put(self, paddr: int, value: int) -> None:
        """Write an entry."""
        self.memory.write(paddr, self.form.word.pack([value]))

    def levels(self, window: Window) -> list[Level]:
        """The levels that the hardware has in a window, root first."""
        return [level for level in self.form.levels_of(window) if not level.folded]

    def window_of(self, vaddr: int) -> Window:
        """The window of an address."""
        return next(window for window in self.windows if window.holds(vaddr))

    def new_table(self, level: Level) -> int | None:
        """Room for a table of a level, its entries empty; None when all is used up."""
        size = level.table_bytes
        at = max((table + above.table_bytes for table, above in self.made.items()), default=self.base)
        at = -(-at // max(size, self._alignment)) * max(size, self._alignment)
        if at + size > self.base + self.size:
            return None
        self.made[at] = level
        self.memory.write(at, self.form.word.pack([level.none]) * level.entries)
        return at

    @property
    def _alignment(self) -> int:
        """What an entry can point to at the least."""
        rows = [row for level in self.form.hardware for row in level.codec.rows if row.kind is Kind.TABLE]
        return max((row.reach & -row.reach for row in rows), default=64)


def draw_tables(form: PagingFormat, rng: Random, *, hostile: bool = False, golden: Sequence[Golden] = ()) -> Drawn:
    """Random tables in every window of a format.

    Args:
        form: The format.
        rng: Where chance comes from.
        hostile: With loops, tables that are nowhere, and reserved encodings.
        golden: Entries that stand in them now and then.
    """
    largest = max(level.table_bytes for window in form.windows for level in form.levels_of(window))
    size = max(1 << 20, TABLES * largest)
    base = rng.choice((0, 1 << 31))
    drawn = Drawn(form, Ram(size, base), base, size, hostile=hostile)
    drawn.windows = _rooted(drawn, rng)
    for _ in range(rng.randint(1, 8)):
        window = rng.choice(drawn.windows)
        _place(drawn, window, rng, golden)
    return drawn


def _rooted(drawn: Drawn, rng: Random) -> tuple[Window, ...]:
    """The format's windows, with one root where they can share it, or one each."""
    windows, shared = drawn.form.windows, None
    alike = len({(window.level, window.bits) for window in windows}) == 1
    together = alike and rng.random() < 0.5
    rooted = []
    for window in windows:
        if shared is None or not together:
            shared = drawn.new_table(drawn.form.levels_of(window)[0])
        assert shared is not None
        rooted.append(window._replace(root=shared))
    return tuple(rooted)


def _place(drawn: Drawn, window: Window, rng: Random, golden: Sequence[Golden]) -> None:
    """Put something somewhere, tables made on the way."""
    levels = drawn.levels(window)
    vaddr = window.start + (_address(levels, rng) & window.end - window.start - 1)
    target = rng.choice((levels[-1], levels[-1], *levels))
    slot = _slot(drawn, window, levels, vaddr, target, rng)
    if slot is None:
        return
    drawn.places.append(vaddr)
    entry = _entry(drawn, target, slot, rng, golden)
    if entry is None:
        return
    row = target.decode(entry).row
    if row.kind in _PAGES:
        _put_run(drawn, target, slot, entry, row, rng)
    else:
        drawn.put(slot, entry)


def _address(levels: Sequence[Level], rng: Random) -> int:
    """An address that shares tables with others more often than not."""
    vaddr = 0
    for level in levels:
        last = level.entries - 1
        index = rng.choice((0, 0, 1, 2, 16, last // 2, last // 2 + 1, last - 15, last - 1, last)) % level.entries
        vaddr |= index << level.shift
    return vaddr


def _slot(drawn: Drawn, window: Window, levels: Sequence[Level], vaddr: int, target: Level, rng: Random) -> int | None:
    """Where the entry of an address lies; None where something is in the way."""
    table = window.root
    for level in levels:
        slot = table + level.index(vaddr) * level.word.size
        entry = drawn.word(slot)
        if level.shift == target.shift or entry is None:
            return slot if entry is not None else None
        if level.is_none(entry):
            below = deepest(level).below
            assert below is not None
            new = drawn.new_table(below)
            if new is None:
                return None
            entry = _table(level, new, rng)
            drawn.put(slot, entry)
        if level.kind(entry) != Kind.TABLE or level.wrong(entry):
            return None
        table = level.frame(entry)
    return None


def _table(level: Level, paddr: int, rng: Random) -> int:
    """An entry that points to a table, often with fewer rights than all."""
    entry: int = level.table(paddr)
    if rng.random() < 0.5:
        return entry
    row = level.decode(entry).row
    said = 0
    for one in row.fields:
        if one.meanings and not one.derived:
            said |= rng.choice(one.meanings)[0]
    made: int = level.codec.make(row, paddr, said) | rng.getrandbits(64) & (row.ignored or 0)
    return made if level.kind(made) == Kind.TABLE and not level.wrong(made) else entry


def _entry(drawn: Drawn, level: Level, slot: int, rng: Random, golden: Sequence[Golden]) -> int | None:
    """What a slot holds; None: nothing."""
    mask, rows = drawn.form.word.mask, level.codec.rows
    mine = [one.entry for one in golden if one.shift == level.shift]
    chance = rng.random()
    entry: int | None
    if mine and chance < 0.2:
        entry = rng.choice(mine)
    elif chance < 0.8:
        at = rng.randrange(len(rows))
        entry = drawn_entry(rows[at], [one for row in rows[:at] for one in row.when], rng, mask)
    else:
        entry = rng.getrandbits(64) & mask
    if entry is None:
        return None
    found = level.decode(entry)
    wrong = bool(level.wrong(entry)) or found.kind is Kind.RESERVED
    if wrong and found.kind in (Kind.TABLE, Kind.PRESENT, Kind.RESERVED):
        return entry if drawn.hostile else None
    return _pointed(drawn, level, slot, entry, rng) if found.kind is Kind.TABLE else entry


def _pointed(drawn: Drawn, level: Level, slot: int, entry: int, rng: Random) -> int | None:
    """A pointer to a table that is there, of the level below; in hostile tables anywhere."""
    row = level.decode(entry).row
    below = deepest(level).below
    assert below is not None
    known = [at for at, made in drawn.made.items() if made.shift == below.shift and made.entries == below.entries]
    if drawn.hostile:
        own = max(at for at in drawn.made if at <= slot)
        known += [own, *(window.root for window in drawn.windows)]
        known += [drawn.base + drawn.size, rng.getrandbits(64) & row.reach]
    if not known:
        return None
    paddr = rng.choice(known)
    if paddr & ~row.reach:
        return None
    return entry & ~row.address_bits | scattered(row.address, paddr)


def _put_run(drawn: Drawn, level: Level, slot: int, entry: int, row: Row, rng: Random) -> None:
    """Put a page and likes of it behind: the same frame, the one that follows; a whole group, if it is of one."""
    width = level.word.size
    table = max(at for at in drawn.made if at <= slot)
    room = (table + level.table_bytes - slot) // width
    address = level.codec.address(entry, row)
    if row.order and rng.random() < 0.8:
        first = (slot - table) // width & -(1 << row.order)
        frame = address & ~(level.span * ((1 << row.order) - 1))
        for at in range(1 << row.order):
            drawn.put(table + (first + at) * width, _moved(entry, row, frame + at * level.span))
        return
    step = rng.choice((0, 1, 1, -1)) * level.span
    for at in range(min(room, rng.choice((1, 1, 2, 5, 9)))):
        value = _moved(entry, row, address + at * step)
        if rng.random() < 0.1:
            value ^= 1 << rng.randrange(8 * width)
        if at and not drawn.hostile and _unsound(level, value):
            return
        if not at or level.is_none(drawn.word(slot + at * width)):
            drawn.put(slot + at * width, value if at else entry)


def _unsound(level: Level, value: int) -> bool:
    """Whether only hostile tables may have it."""
    kind = level.kind(value)
    return bool(kind in (Kind.TABLE, Kind.RESERVED) or (kind == Kind.PRESENT and level.wrong(value)))


def _moved(entry: int, row: Row, address: int) -> int:
    """An entry that names another frame, as far as its address reaches."""
    moved: int = entry & ~row.address_bits | scattered(row.address, address & row.reach)
    return moved
