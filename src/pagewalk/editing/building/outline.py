"""What a layout says: regions, in which format, and where the tables may lie. Not checked yet: ``Layout`` is."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.doors import shortened, shown
from pagewalk.formats import PagingFormat, from_registers, to_registers, windows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pagewalk.formats import Window

__all__ = ["GUARD", "Outline", "Region", "Reserve"]

GUARD: Final = "----"
"""The rights of a region where nothing is mapped, and no other region may be."""


class Region(NamedTuple):
    """Addresses that are mapped alike.

    Attributes:
        name: What it is called: no two regions have one name.
        vaddr, size: Where it is, in bytes.
        rights: Four places, as a listing prints them; ``----``: a guard, where nothing is mapped.
        paddr: Where it leads; None: to the same address.
        memory: The number of its memory type, or what the registers call it (``WB``, ``device nGnRE``).
        key: The number of its protection key.
        kernel: What the kernel may do with a user's pages, three places; None: as little as goes with the user's.
        state: ``accessed``, ``dirty``, ``global``; None: accessed, and dirty where it may be written.
        largest: The size of the largest page to be used; None: any.
        root: The root whose it is, where there are several; None: it is in all of them.
        repeat: Every page is the one at ``paddr``, and of the size ``largest``, or of the smallest.
        set, clear: Bits of entries to be set and cleared, besides: those that mean nothing to the MMU.
        line: Where it stands in a file.
    """

    name: str
    vaddr: int
    size: int
    rights: str
    paddr: int | None = None
    memory: int | str = 0
    key: int = 0
    kernel: str | None = None
    state: tuple[str, ...] | None = None
    largest: int | None = None
    root: str | None = None
    repeat: bool = False
    set: int = 0
    clear: int = 0
    line: int | None = None

    def __repr__(self) -> str:
        return f"<Region {shown(self.name)} {self.rights} [{self.vaddr:#x}, {self.vaddr + self.size:#x})>"


class Reserve(NamedTuple):
    """Addresses whose tables are to be there, though nothing is in them.

    Attributes:
        vaddr, size: Where, in bytes.
        page: The size of the pages that they shall have room for; None: the smallest.
        root: As a region's.
        line: Where it stands in a file.
    """

    vaddr: int
    size: int
    page: int | None = None
    root: str | None = None
    line: int | None = None

    def __repr__(self) -> str:
        return f"<Reserve [{self.vaddr:#x}, {self.vaddr + self.size:#x})>"


@dataclass(frozen=True, repr=False, kw_only=True)
class Outline:
    """What shall be mapped where, as somebody said it.

    Attributes:
        format: The paging format, or its name.
        regions: What is mapped; of regions and reservations together, the order is that of the file.
        reserves: Where tables are to be, besides.
        base: Physical address of the first table.
        size: How many bytes the tables may have; None: as many as they need.
        bits: log2 of the bytes of each window, or one number for each, in formats that leave it open (arm64).
        order: Which table lies where: level by level (``levels``), or as the ``regions`` need
            them.
        root: Whether top tables are the ``first`` or the ``last``.
        roots: The names of the roots, in order; those that regions name first are added.
        largest: The size of the largest page of regions that do not say their own; None: any.
        groups: Whether contiguous entries and NAPOT pages are used: RISC-V's CPUs have these with Svnapot only.
        set, clear: Bits of the entries of tables to be set and cleared, as a region's.
        registers: Values to load instead of those that are chosen: the PAT, MAIR_EL1.
        name: What messages call it: a file's name.
    """

    format: PagingFormat
    regions: tuple[Region, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    base: int = 0
    size: int | None = None
    bits: int | tuple[int, ...] | None = None
    order: str = "levels"
    root: str = "first"
    roots: tuple[str, ...] = ()
    largest: int | None = None
    groups: bool = True
    set: int = 0
    clear: int = 0
    registers: Mapping[str, int] = field(default_factory=dict)
    name: str = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.format.name}: {len(self.regions)} regions, {len(self.roots)} roots>"

    @property
    def every(self) -> tuple[Region | Reserve, ...]:
        """Regions, and then reservations."""
        return (*self.regions, *self.reserves)

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name or "the layout"

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The format's windows, without roots."""
        return windows_of(self.format, self.bits)

    @cached_property
    def memory_types(self) -> tuple[str, ...]:
        """What the numbers of memory types stand for, by the registers."""
        values = to_registers(self.format, self.windows) | dict(self.registers)
        return from_registers(values, "none").format.memory_types

    def where(self, region: Region | Reserve) -> str:
        """A region, for a message: file and line, as far as they are known, and its name."""
        what = f"region {shortened(region.name)!r}" if isinstance(region, Region) else "a reservation"
        line = "" if region.line is None else f"{region.line}"
        place = ":".join(part for part in (self.name, line) if part)
        return f"{place}: {what}" if place else what
