"""A row: the entries that match it, and what they say. An entry *is* the first row of its level that it matches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import and_, or_
from typing import TYPE_CHECKING

from pagewalk.formats.bits import ANY, Bits, Pattern
from pagewalk.formats.flags import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.formats.fields import Field

__all__ = ["Row", "grouped", "settled"]


@dataclass(frozen=True)
class Row:
    """What some entries of a level are.

    Attributes:
        kind: What occupies them.
        when: An entry that matches any of these, and no row before, is of this row.
        address: Where the address of the table or the frame sits; of swap, where the page is in the swap device.
        fields: Rights, state, memory type, key. Where no field says so, a page and a table grant everything.
        must: Bits that must have a value, else the hardware faults (ReservedBits).
        order: log2 of the entries of this level that one page spans (contiguous groups, NAPOT). What the address leaves
            open comes from the virtual address.
        sets: Bits that are set when one is made, besides those of the others.
        ignored: Bits that nobody looks at: said, so that every bit is accounted for; None: all that are left.
        name: What it is called, on every level alike: its kind's label where nothing else is said.
        unknown: The operating system's own entry, though it writes none such: it is another version's.
    """

    kind: Kind
    when: tuple[Pattern, ...]
    address: tuple[Bits, ...] = ()
    fields: tuple[Field, ...] = ()
    must: Pattern = ANY
    order: int = 0
    sets: int = 0
    ignored: int | None = None
    name: str = ""
    unknown: bool = False

    def __post_init__(self) -> None:
        """Give it a name."""
        if not self.name:
            object.__setattr__(self, "name", self.kind.label)

    def matches(self, entry: int) -> bool:
        """Whether an entry is of this row, if it is of none before."""
        return any(entry & mask == value for mask, value in self.when)

    @cached_property
    def tested(self) -> int:
        """The bits that any of the patterns looks at."""
        return reduce(or_, (pattern.mask for pattern in self.when))

    @cached_property
    def fixed(self) -> int:
        """The bits that all patterns have alike."""
        first = self.when[0].value
        return reduce(and_, (pattern.mask & ~(pattern.value ^ first) for pattern in self.when))

    @cached_property
    def address_bits(self) -> int:
        """The bits that hold the address."""
        return reduce(or_, (part.mask for part in self.address), 0)

    @cached_property
    def reach(self) -> int:
        """The bits of an address that it can name."""
        return reduce(or_, (part.reach for part in self.address), 0)

    @cached_property
    def claimed(self) -> int:
        """The bits that mean something."""
        fields = reduce(or_, (field.mask for field in self.fields), 0)
        return self.tested | self.must.mask | self.address_bits | fields | self.sets

    @property
    def names_frame(self) -> bool:
        """Whether its address is one of physical memory."""
        return bool(self.address) and self.kind is not Kind.SWAP

    def field(self, name: str) -> Field | None:
        """The field of a name."""
        return next((field for field in self.fields if field.name == name), None)


def grouped(row: Row, bits: int, order: int) -> list[Row]:
    """A row of entries that stand alone, after its like for those of a group, in which some bits are set.

    Args:
        row: The row.
        bits: What tells entries of a group from those that stand alone.
        order: log2 of the entries of a group; 0 where there are none.
    """
    if not order:
        return [row]
    inside = tuple(Pattern(mask | bits, value | bits) for mask, value in row.when)
    alone = tuple(Pattern(mask | bits, value) for mask, value in row.when)
    return [replace(row, when=inside, order=order), replace(row, when=alone)]


def settled(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of a level, each field without the meanings that its row leaves no room for."""
    done: list[Row] = []
    before: list[Pattern] = []
    for row in rows:
        fields = tuple(field.settled(row.when, before) if field.meanings else field for field in row.fields)
        done.append(replace(row, fields=fields))
        before += row.when
    return tuple(done)
