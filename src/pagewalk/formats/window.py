"""Ranges of virtual addresses, and the levels that translate them: the kernel's five, from the window's first on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pagewalk.formats.level import LAST_DEPTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.formats.access import AccessRule
    from pagewalk.formats.flags import Rights
    from pagewalk.formats.level import Level

__all__ = ["Window", "placed"]


class Window(NamedTuple):
    """A range of virtual addresses, and the table that translates it.

    Attributes:
        start, end: The range, half-open, in bytes.
        root: Physical address of the top table; in a format's own windows 0.
        level: The index of the level, among the format's, where the descent begins.
        bits: log2 of the entries of the top table, where it is not the level's; None: the level's.
        ignored: Address bits that the hardware does not look at (TBI, LAM).
        layered: What the MMU does not take is what the operating system's rows say; else it is *other*, if not empty,
            and bits left to software say nothing (Linux's kernel half: KFENCE and DEBUG_PAGEALLOC take pages away
            there, nothing is swapped, and what is soft-dirty to users is "not to be made large", 7.2's KERNEL_4K).
        barred: Rules that refuse accesses by the address alone, whatever entries grant (LASS, E0PD).
        asid: The number under which a CPU keeps its translations (PCID, ASID); None: no register has said.
    """

    start: int
    end: int
    root: int = 0
    level: int = 0
    bits: int | None = None
    ignored: int = 0
    layered: bool = True
    barred: tuple[AccessRule, ...] = ()
    asid: int | None = None

    def holds(self, vaddr: int) -> bool:
        """Whether an address is of this window."""
        return self.start <= self.plain(vaddr) < self.end

    def bars(self, right: Rights) -> AccessRule | None:
        """The rule that refuses an access whatever its entries grant; None: none does."""
        return next((rule for rule in self.barred if rule.strip & right), None)

    def plain(self, vaddr: int) -> int:
        """An address as it stands where its ignored bits are those of the window."""
        return vaddr & ~self.ignored | self.start & self.ignored


def placed(levels: Sequence[Level], window: Window) -> tuple[Level, ...]:
    """The kernel's five levels in a window."""
    own = list(levels[window.level :])
    if window.bits is not None:
        own[0] = replace(own[0], index_bits=window.bits)
    folds = [replace(own[0], index_bits=0)] * (LAST_DEPTH + 1 - len(own))
    found: list[Level] = []
    for depth, level in reversed(list(enumerate([own[0], *folds, *own[1:]]))):
        real = 0 if level.folded else depth
        above = depth - 1 if depth - 1 > len(folds) else 0
        below = found[-1] if found else None
        bits = own[0].index_bits if level.folded else level.index_bits
        found.append(replace(level, depth=depth, real_depth=real, above=above, real_index_bits=bits, below=below))
    return tuple(reversed(found))
