"""One table, and one slot of it.

* ``Table``: its slots are usable like a list of raw values. In a flat memory the slots *are* the memory.
* ``Entry``: a reference to one slot, as a ``pte_t *`` is. It reads, writes and decodes the raw value.
"""

from __future__ import annotations

from typing import Any, Protocol

from pagewalk.doors import integer
from pagewalk.errors import MemoryWriteError
from pagewalk.formats import NO_PADDR, Flag, Kind, Level
from pagewalk.memory import Memory, RemoteSlots
from pagewalk.tables.groups import Slots, unfold

__all__ = ["Entry", "Slots", "Table"]

_PAGES = (Kind.PRESENT, Kind.PROT_NONE)


class Owner(Protocol):
    """What a table belongs to: page tables."""

    @property
    def memory(self) -> Memory:
        """Where they are."""

    def table_at(self, paddr: int, level: Level) -> Table:
        """The table at an address."""


class Table:
    """One table of a level.

    Attributes:
        tables: The page tables it belongs to.
        paddr: Physical address of its first slot, in bytes.
        level: Its level.
        slots: Its raw values: ``slots[i]`` reads now, ``slots[i] = value`` writes now. A walk *keeps* the tables of a
            remote memory while it is in them.
    """

    __slots__ = ("level", "paddr", "slots", "tables")

    def __init__(self, tables: Owner, paddr: int, level: Level, slots: Slots) -> None:
        self.tables = tables
        self.paddr = paddr
        self.level = level
        self.slots = slots

    def __repr__(self) -> str:
        return f"<{self.level.name} table at {self.paddr:#x}>"

    def keep(self) -> None:
        """Read all slots of a remote table at once, not each at each use, until ``let_go``."""
        if isinstance(self.slots, RemoteSlots):
            self.slots.keep()

    def let_go(self) -> None:
        """Read each slot at each use."""
        if isinstance(self.slots, RemoteSlots):
            self.slots.let_go()

    def afresh(self, index: int) -> None:
        """Read one slot of a table that is kept again: somebody may have changed it behind us."""
        if isinstance(self.slots, RemoteSlots):
            self.slots.afresh(index)

    def __reduce__(self) -> tuple[Any, ...]:
        """Found again in the page tables, which are pickled with it."""
        return _table_at, (self.tables, self.paddr, self.level)


def _table_at(tables: Owner, paddr: int, level: Level) -> Table:
    """A table that was pickled."""
    return tables.table_at(paddr, level)


class Entry:
    """A reference to one slot of a table.

    ``value`` is read from and written to the memory at each use; everything else decodes what is there now. Before one
    of a group changes, the others are made to stand alone (``tables.groups``).
    """

    __slots__ = ("index", "table")

    def __init__(self, table: Table, index: int) -> None:
        self.table = table
        self.index = index

    def __repr__(self) -> str:
        return f"<{self.level.name} entry {self.index} at {self.paddr:#x}: {self.value:#018x} {self.kind.label}>"

    @property
    def value(self) -> int:
        """The raw value."""
        return self.table.slots[self.index]

    @value.setter
    def value(self, value: int) -> None:
        word = self.table.level.word
        if type(value) is not int:
            value = integer(value, "an entry")
        if value & word.mask != value:
            raise ValueError(f"{integer(value, 'an entry'):#x} does not fit an entry of {8 * word.size} bits")
        try:
            if self.table.level.has_groups and value != self.value:
                unfold(self.table.level, self.table.slots, self.index)
            self.table.slots[self.index] = value
        except TypeError:
            raise MemoryWriteError(self.paddr, word.size, "opened read-only: open it with writable=True") from None

    @property
    def paddr(self) -> int:
        """Physical address of the slot itself."""
        return self.table.paddr + self.level.word.size * self.index

    @property
    def level(self) -> Level:
        """The level it is looked at as."""
        return self.table.level

    @property
    def is_none(self) -> bool:
        """Whether it is empty (``pte_none``)."""
        level, value = self.table.level, self.table.slots[self.index]
        return value == level.none or bool(level.is_none(value))

    @property
    def is_present(self) -> bool:
        """Whether a page or a table is there (``pte_present``): PROT_NONE counts."""
        kind = self.kind
        return kind is Kind.TABLE or kind in _PAGES

    @property
    def is_table(self) -> bool:
        """Whether it points to a table."""
        return self.kind is Kind.TABLE

    @property
    def is_leaf(self) -> bool:
        """Whether it maps a page, of any size."""
        return self.kind in _PAGES

    @property
    def kind(self) -> Kind:
        """What occupies it."""
        table = self.table
        return table.level.decode(table.slots[self.index]).kind

    @property
    def name(self) -> str:
        """What the format calls it: its kind, or more than that."""
        return self.level.decode(self.value).row.name

    @property
    def flags(self) -> Flag:
        """Its own rights and state; a table's entry has the rights it passes on."""
        table = self.table
        return table.level.decode(table.slots[self.index]).flags

    @property
    def target(self) -> int | None:
        """Physical address of the table or frame it names, None if it names none.

        Of a page of a group, what the address leaves open is 0: ``translate`` fills that in.
        """
        frame = self.table.level.frame(self.value)
        return None if frame == NO_PADDR else int(frame)
