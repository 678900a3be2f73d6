"""Page tables out of their leaves: all at once, a level at a time; for a capture, and for a layout.

How it works. Two leaves lie in the same table if their addresses agree above the table's span: that quotient is the
table's *key*. The tables of a level are the distinct keys of its leaves and of the tables below it, so the whole tree
is known, and exactly counted, before the first byte is written; writing it is one scatter a level.

Trees of one shape are one *grove*: several roots, and what they share. An *owner*, the number of a root, stands above
the address in a key; what belongs to no root alone has the number behind the last root's. A table of nobody's own is
linked from wherever no root has a table of its own at that place, and is left out if that is nowhere; leaves of
nobody's own that lie in the range of a root's own table stand in each of these tables.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from pagewalk.formats import Level

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]

__all__ = ["Grove", "Keys", "Leaves", "Part", "Shape", "expanded"]

_EMPTY: Final = np.empty(0, np.uint64)
_NEVER: Final = np.iinfo(np.uint64).max


class Leaves(NamedTuple):
    """Leaf entries of one level: addresses, ascending and distinct, and raw values. Shape (n,), uint64."""

    vaddrs: Words
    entries: Words


class Keys(NamedTuple):
    """Keys of tables, ascending, and when each is first needed: the smaller the sooner. Shape (n,), uint64."""

    keys: Words
    ranks: Words | None = None


class Part(NamedTuple):
    """Entries of one level, and the tables they go into: their distinct keys, and how many of the entries each gets."""

    level: Level
    leaves: Leaves
    owner: int
    keys: Words
    counts: Places


class Shape(NamedTuple):
    """What the trees of a grove have in common.

    Attributes:
        levels: The levels that the hardware has in the roots' windows, top first.
        roots: How many roots there are.
    """

    levels: tuple[Level, ...]
    roots: int = 1

    def owner_at(self, level: Level) -> int:
        """Where the owner begins in the key of a table."""
        top = self.levels[0]
        return top.shift + top.index_bits - level.shift - level.index_bits

    def border(self, level: Level) -> np.uint64:
        """The first key of a table that is no root's own."""
        return np.uint64(self.roots << self.owner_at(level))

    def keys(self, level: Level, vaddrs: Words, owner: int = 0) -> Words:
        """The keys of the tables of a level that hold the entries of addresses.

        Args:
            level: The level.
            vaddrs: The addresses. Shape (n,), uint64.
            owner: The root whose they are; ``roots``: they are no root's own.
        """
        top, own = self.levels[0], owner << self.owner_at(level)
        inside = np.uint64((1 << top.shift + top.index_bits) - 1)
        keys = (vaddrs & inside) >> np.uint64(level.shift + level.index_bits)
        return keys | np.uint64(own) if own else keys

    def part(self, level: Level, leaves: Leaves, owner: int = 0) -> Part:
        """Leaf entries with the keys of their tables; the owner as ``keys`` has it."""
        keys = self.keys(level, leaves.vaddrs, owner)
        first = np.flatnonzero(_first(keys))
        return Part(level, leaves, owner, keys[first], np.diff(first, append=len(keys)))


class Grove:
    """The tables of one or several roots, and where they will lie.

    Args:
        shape: Their levels, and how many roots there are.
        needed: By depth, in parts: the keys of tables that must be there.

    Attributes:
        tables: By depth: the keys of the tables.
        ranks: By depth: when each is first needed; None: nobody asked.
        paddrs: By depth: where they lie, once they have been given a place.
    """

    def __init__(self, shape: Shape, needed: Mapping[int, Sequence[Keys]]) -> None:
        self.shape = shape
        self.tables: dict[int, Words] = {}
        self.ranks: dict[int, Words | None] = {}
        self.paddrs: dict[int, Words] = {}
        self._borrowed: dict[int, tuple[Words, Words]] = {}
        below = Keys(_EMPTY)
        for above, level in reversed(list(pairwise(shape.levels))):
            found = _distinct([*needed.get(level.depth, ()), below])
            self.tables[level.depth], self.ranks[level.depth] = found
            below = Keys(found.keys >> np.uint64(above.index_bits), found.ranks)
        top = shape.levels[0].depth
        self.tables[top], self.ranks[top] = np.arange(shape.roots, dtype=np.uint64), None
        for above, level in pairwise(shape.levels):
            self._borrow(above, level)

    def count(self) -> int:
        """How many tables there are."""
        return sum(map(len, self.tables.values()))

    # -- what roots share --------------------------------------------------------------------------------------------

    def _borrow(self, above: Level, level: Level) -> None:
        """Find the tables of nobody's own that roots' own tables link, and drop those that none does."""
        own, shared = self._own_and_shared(level)
        if not len(shared):
            return
        above_own, above_shared = self._own_and_shared(above)
        parents, children = self._under(above, above_own, shared >> np.uint64(above.index_bits))
        owners = above_own[parents] >> np.uint64(self.shape.owner_at(above))
        free = ~_among(shared[children] | owners << np.uint64(self.shape.owner_at(level)), own)
        parents, children = parents[free], children[free]
        reached = _among(shared >> np.uint64(above.index_bits), above_shared)
        reached[children] = True
        border = self.shape.border(level)
        self._borrowed[level.depth] = above_own[parents], shared[children] | border
        self.tables[level.depth] = np.concatenate([own, shared[reached] | border])
        if (ranks := self.ranks[level.depth]) is not None:
            kept = np.append(np.ones(len(own), bool), reached)
            self.ranks[level.depth] = ranks[kept]

    def _own_and_shared(self, level: Level) -> tuple[Words, Words]:
        """The keys of a level's tables: roots' own, and nobody's without its owner."""
        keys, border = self.tables[level.depth], self.shape.border(level)
        cut = int(np.searchsorted(keys, border))
        return keys[:cut], keys[cut:] - border

    def _under(self, level: Level, own: Words, prefixes: Words) -> tuple[Places, Places]:
        """Which of some ascending keys without owner lie where roots' own tables do: pairs of a table and a key."""
        plain = own & np.uint64((1 << self.shape.owner_at(level)) - 1)
        low, high = np.searchsorted(prefixes, plain), np.searchsorted(prefixes, plain, side="right")
        return expanded(low, high - low)

    # -- writing -----------------------------------------------------------------------------------------------------

    def link(self, slots: Words, base: int, level: Level, entries: Words, *, of: Level) -> None:
        """Write the entries that point to the tables of a level.

        Args:
            slots: All tables, as entries.
            base: The physical address of the first of them.
            level: The level above, whose tables they stand in.
            entries: One for each table, as ``tables`` has them.
            of: The level.
        """
        keys, inside = self.tables[of.depth], np.uint64(level.entries - 1)
        parents = keys >> np.uint64(level.index_bits)
        there = _among(parents, self.tables[level.depth])
        places = self._first_slots(base, level, parents[there]) + (keys[there] & inside)
        slots[places.view(np.intp)] = entries[there]
        if of.depth in self._borrowed:
            parents, children = self._borrowed[of.depth]
            places = self._first_slots(base, level, parents) + (children & inside)
            slots[places.view(np.intp)] = entries[np.searchsorted(keys, children)]

    def put(self, slots: Words, base: int, part: Part) -> None:
        """Write leaf entries; those of nobody's own into every table of a root's own that has their place as well.

        Args:
            slots, base: As ``link``.
            part: The entries.
        """
        level, first = part.level, np.cumsum(part.counts) - part.counts
        index = part.leaves.vaddrs >> np.uint64(level.shift) & np.uint64(level.entries - 1)
        if part.owner < self.shape.roots:
            index += np.repeat(self._first_slots(base, level, part.keys), part.counts)
            slots[index.view(np.intp)] = part.leaves.entries
            return
        own, shared = self._own_and_shared(level)
        border = self.shape.border(level)
        copied, which = self._under(level, own, part.keys - border)
        there = np.flatnonzero(_among(part.keys - border, shared))
        tables, which = np.append(part.keys[there], own[copied]), np.append(there, which)
        nth, leaves = expanded(first[which], part.counts[which])
        places = self._first_slots(base, level, tables)[nth] + index[leaves]
        slots[places.view(np.intp)] = part.leaves.entries[leaves]

    def _first_slots(self, base: int, level: Level, keys: Words) -> Words:
        """The number of the first slot of each table."""
        at = np.searchsorted(self.tables[level.depth], keys)
        return (self.paddrs[level.depth][at] - np.uint64(base)) // np.uint64(level.word.size)


def expanded(low: Places, counts: Places) -> tuple[Places, Places]:
    """The numbers from each of ``low`` on, so many of each: pairs of which it is, and the number."""
    which = np.repeat(np.arange(len(low)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return which, np.arange(len(which)) - first + low[which]


def _distinct(parts: Iterable[Keys]) -> Keys:
    """Keys in parts as ascending and distinct ones; of equal ones, the smallest rank."""
    some = [part for part in parts if len(part.keys)]
    if not some:
        return Keys(_EMPTY)
    keys = np.concatenate([part.keys for part in some])
    ranked = any(part.ranks is not None for part in some)
    if not ranked:
        keys = np.sort(keys)
        return Keys(keys[_first(keys)])
    ranks = np.concatenate([np.full(len(one.keys), _NEVER) if one.ranks is None else one.ranks for one in some])
    order = np.lexsort((ranks, keys))
    keys, ranks = keys[order], ranks[order]
    first = _first(keys)
    return Keys(keys[first], ranks[first])


def _first(keys: Words) -> npt.NDArray[np.bool_]:
    """Which of some ascending keys are not the same as the one before."""
    return np.append(True, keys[1:] != keys[:-1])[: len(keys)]


def _among(keys: Words, known: Words) -> npt.NDArray[np.bool_]:
    """Which keys are among some ascending ones."""
    at = np.searchsorted(known, keys)
    at[at == len(known)] = 0
    return known[at] == keys if len(known) else np.zeros(len(keys), bool)
