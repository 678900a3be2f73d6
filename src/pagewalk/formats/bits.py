"""The words in which formats are written: patterns and parts of an entry, for ints and uint64 arrays alike.

A *pattern* is a mask and a value: it holds for the entries that have these bits so. Patterns are compared as sets of
entries here: whether two of them meet, whether one lies inside another, and what is left beside some of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANY", "EVERY", "NO_PADDR", "Bits", "Pattern", "bit", "joined", "left_over", "run", "scattered"]

EVERY = (1 << 64) - 1
"""All bits of the widest entry."""
NO_PADDR = (1 << 64) - 1
"""In place of a physical address: there is no frame, or nobody said which."""


def bit(*places: int) -> int:
    """A mask of single bits."""
    return sum(1 << place for place in places)


def run(high: int, low: int) -> int:
    """A mask of the bits from ``high`` down to ``low``; none if there are none."""
    return (1 << high + 1) - (1 << low) if high >= low else 0


class Pattern(NamedTuple):
    """True for an entry with ``entry & mask == value``."""

    mask: int
    value: int

    def __call__(self, entry: Any) -> Any:
        """A bool, or an array of bool."""
        mask, value = self  # faster than by name
        return (entry & mask) == value

    def meets(self, other: Pattern) -> bool:
        """Whether an entry can match both."""
        return not (self.value ^ other.value) & self.mask & other.mask

    def within(self, other: Pattern) -> bool:
        """Whether whatever matches this one matches the other."""
        return not other.mask & ~self.mask and not (self.value ^ other.value) & other.mask

    def both(self, other: Pattern) -> Pattern:
        """The pattern of entries that match both; only of patterns that meet."""
        return Pattern(self.mask | other.mask, self.value | other.value)


ANY = Pattern(0, 0)
"""Holds for every entry."""


def left_over(patterns: Sequence[Pattern], among: Pattern = ANY) -> Pattern | None:
    """Entries that match ``among`` and none of the patterns, as a pattern; None if there are none."""
    near = [pattern for pattern in patterns if pattern.meets(among)]
    if any(among.within(pattern) for pattern in near):
        return None
    if not near:
        return among
    open_bits = Counter(place for pattern in near for place in range(64) if (pattern.mask & ~among.mask) >> place & 1)
    chosen = 1 << max(open_bits, key=lambda place: open_bits[place])
    return left_over(near, Pattern(among.mask | chosen, among.value)) or left_over(
        near, Pattern(among.mask | chosen, among.value | chosen)
    )


class Bits(NamedTuple):
    """Part of an address: ``((entry ^ flip) & mask) << up >> down``, where ``flip`` is the mask, or nothing.

    Attributes:
        mask: The entry's bits.
        up, down: How far they go.
        flip: They are stored inverted (x86 under Linux, the L1TF mitigation).
    """

    mask: int
    up: int = 0
    down: int = 0
    flip: bool = False

    @property
    def flipped(self) -> int:
        """The bits that are stored inverted."""
        return self.mask if self.flip else 0

    @property
    def reach(self) -> int:
        """The bits of an address that it holds."""
        return self.mask << self.up >> self.down

    def get(self, entry: Any) -> Any:
        """Its part of the address."""
        mask, up, down, flip = self  # faster than by name
        return ((entry ^ mask if flip else entry) & mask) << up >> down

    def put(self, address: Any) -> Any:
        """An entry with only this part set."""
        stored = address << self.down >> self.up & self.mask
        return stored ^ self.mask if self.flip else stored


def joined(parts: Sequence[Bits], entry: Any) -> Any:
    """Gather an address from its parts."""
    address = parts[0].get(entry)
    for part in parts[1:]:
        address = address | part.get(entry)
    return address


def scattered(parts: Sequence[Bits], address: Any) -> Any:
    """Scatter an address into its parts."""
    first, *rest = parts
    entry = first.put(address)
    for part in rest:
        entry = entry | part.put(address)
    return entry
