"""What a slow reference must answer, for ``check_format`` to hold a format to it: plain ints, from the manual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pagewalk.formats import Window

__all__ = ["Found", "Reference", "Said", "Walker"]


class Found(Protocol):
    """What one entry that ends a translation is."""

    @property
    def what(self) -> str:
        """``leaf``, ``absent`` (not empty), ``hole``, ``reserved``, or ``outside``: it leads out of the memory."""

    @property
    def vaddr(self) -> int:
        """The first address that it covers."""

    @property
    def size(self) -> int:
        """How many bytes it covers."""

    @property
    def depth(self) -> int:
        """Its level as the kernel counts: the first is 0, the last 4."""

    @property
    def entry(self) -> int:
        """The raw entry; 0 where the root is not in the memory."""

    @property
    def paddr(self) -> int:
        """Of a leaf, the physical address of ``vaddr``."""

    @property
    def rights(self) -> Sequence[bool]:
        """Kernel read, write, execute; user read, write, execute: what all levels grant."""


class Walker(Protocol):
    """A window's tables."""

    def look(self, vaddr: int) -> Found:
        """What ends the translation of an address."""

    def everything(self, start: int, end: int) -> Iterator[Found]:
        """All entries that end a translation in ``[start, end)``, by address."""


class Said(Protocol):
    """What one entry means, as a golden entry has it; kind and flags by name."""

    @property
    def kind(self) -> str:
        """A kind's label."""

    @property
    def frame(self) -> int | None:
        """The physical address that it names."""

    @property
    def flags(self) -> Collection[str]:
        """The names of its flags."""

    @property
    def memory(self) -> int:
        """The number of its memory type."""

    @property
    def pkey(self) -> int:
        """The number of its protection key."""

    @property
    def swap(self) -> tuple[int, int] | None:
        """The type and offset of a swap entry."""

    @property
    def order(self) -> int:
        """log2 of the entries of its group."""


class Reference(Protocol):
    """A format's oracle."""

    def walker(self, read: Callable[[int], int | None], window: Window) -> Walker:
        """The tables of a window, in a memory: the entry at a physical address, None outside it."""

    def meaning(self, shift: int, raw: int) -> Said:
        """What one entry of a level means."""
