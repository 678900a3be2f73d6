"""What the oracles say of an entry and of an address, and the one loop they share.

Nothing in this package comes from ``pagewalk``; plain integers only, slow and obvious.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

Read = Callable[[int], "int | None"]
"""The entry at a physical address, or None where there is no memory."""


class Rights(NamedTuple):
    """Who may do what, before the rules that depend on more than the tables (SMEP, SMAP, PAN, SUM, keys)."""

    kernel_read: bool
    kernel_write: bool
    kernel_execute: bool
    user_read: bool
    user_write: bool
    user_execute: bool

    def both(self, other: Rights) -> Rights:
        """A right is what every level grants."""
        return Rights(*(one and two for one, two in zip(self, other, strict=True)))

    def names(self) -> set[str]:
        """As flags: the user's rights where it has any, else the kernel's."""
        user = any((self.user_read, self.user_write, self.user_execute))
        own = self[3:] if user else self[:3]
        named = {name for name, granted in zip(("READ", "WRITE", "EXEC"), own, strict=True) if granted}
        return named | ({"USER"} if user else set())


EVERY_RIGHT = Rights(True, True, True, True, True, True)
NO_RIGHT = Rights(False, False, False, False, False, False)


class Decoded(NamedTuple):
    """What one entry says by itself to the hardware."""

    what: str  # table, leaf, invalid, reserved
    frame: int = 0
    rights: Rights = NO_RIGHT
    accessed: bool = False
    dirty: bool = False
    global_: bool = False
    memory: int = 0
    key: int = 0
    order: int = 0  # log2 of the entries of its group
    from_vaddr: int = 0  # so many low bits of the address come from the virtual one: more than the page has in NAPOT


class Found(NamedTuple):
    """What one entry that ends a translation says; the rights are those that all levels grant."""

    what: str  # leaf, absent (not empty), hole, reserved, outside
    vaddr: int
    size: int
    depth: int
    entry: int
    paddr: int = 0
    rights: Rights = NO_RIGHT
    accessed: bool = False
    dirty: bool = False
    global_: bool = False
    memory: int = 0
    key: int = 0
    order: int = 0

    @property
    def write(self) -> bool:
        return self.rights.kernel_write

    @property
    def user(self) -> bool:
        return self.rights.user_read

    @property
    def execute(self) -> bool:
        return self.rights.kernel_execute


def depths(levels: int) -> list[int]:
    """Linux's count of so many levels: the first is 0, the others end with 4; what is folded is missing between."""
    return [0, *range(6 - levels, 5)]


@dataclass(frozen=True)
class Walker:
    """Tables behind one root, as the hardware reads them. A family says what an entry is and how a root is cut."""

    read: Read
    root: int
    word: ClassVar[int] = 8
    """Bytes of an entry."""

    def shifts(self) -> list[int]:
        """Each level's lowest address bit, from the root down."""
        raise NotImplementedError

    def entries(self, shift: int) -> int:
        """How many entries a table of this level has."""
        raise NotImplementedError

    def pages(self, shift: int) -> bool:
        """Whether an entry of this level can map a page."""
        raise NotImplementedError

    def decode(self, shift: int, raw: int) -> Decoded:
        """One entry of the level with this shift."""
        raise NotImplementedError

    def empty(self, raw: int) -> bool:
        """Whether Linux calls an entry that is not valid empty."""
        return raw == 0

    def granted(self, rights: Rights) -> Rights:
        """What the sum of all levels comes to."""
        return rights

    def everything(self, start: int, end: int) -> Iterator[Found]:
        """Every entry that ends a translation in ``[start, end)``, by address."""
        at = start
        while at < end:
            found = self.look(at)
            yield found
            at = found.vaddr + found.size

    def look(self, vaddr: int) -> Found:
        """One translation."""
        rights, table, global_ = EVERY_RIGHT, self.root, False
        shifts = self.shifts()
        for depth, shift in zip(depths(len(shifts)), shifts, strict=True):
            first = vaddr >> shift << shift
            raw = self.read(table + self.word * (vaddr >> shift & self.entries(shift) - 1))
            if raw is None:
                return Found("outside", first, 1 << shift, depth, 0)
            entry = self.decode(shift, raw)
            if entry.what == "invalid":
                what = "hole" if self.empty(raw) else "absent"
                return Found(what, first, 1 << shift, depth, raw)
            if entry.what == "reserved":
                return Found("reserved", first, 1 << shift, depth, raw)
            rights, global_ = rights.both(entry.rights), global_ or entry.global_
            if entry.what == "leaf":
                paddr = entry.frame | first & (1 << entry.from_vaddr) - 1
                rest = entry._replace(rights=self.granted(rights), global_=global_)[2:-1]
                return Found("leaf", first, 1 << shift, depth, raw, paddr, *rest)
            table = entry.frame
            below = shifts[shifts.index(shift) + 1]
            if self.read(table) is None or self.read(table + self.word * (self.entries(below) - 1)) is None:
                return Found("outside", first, 1 << shift, depth, raw)
        raise AssertionError("the last level has no tables")
