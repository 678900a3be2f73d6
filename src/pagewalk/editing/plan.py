"""What a change is going to do: every word, every table, every invalidation."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.editing.flushes import Flush, flushes_of
from pagewalk.editing.links import Links
from pagewalk.editing.loaded import loaded
from pagewalk.editing.places import Places, TableAt
from pagewalk.editing.text import plan_json, plan_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.editing.draft import Draft
    from pagewalk.memory.overlay import Changed

    Words = npt.NDArray[np.uint64]

__all__ = ["WORD", "Plan"]

WORD: Final = np.dtype(
    [("paddr", "u8"), ("vaddr", "u8"), ("size", "u8"), ("depth", "i1"), ("fresh", "?"), ("old", "u8"), ("new", "u8")]
)
"""A word that changes: where it is; the first address that it translates, and for how many bytes; the depth of its
table, as the kernel counts; whether the table is a new one; what it was, and what it is to be."""


class Plan:
    """What a change is going to do to memory; ``print`` shows it, and ``json`` gives it as plain data.

    Args:
        draft: The page tables as they are to be.
        spans: The ranges that operations were about.
        unlinked: Where the tables are that they unlinked.
        twin: The other root of the tables; 0: they have one.

    Attributes:
        tables: The page tables as they are to be.
        spans: The ranges.
        changed: The blocks of memory that differ.
        twin: The other root.
    """

    def __init__(
        self,
        draft: Draft,
        spans: Sequence[tuple[int, int]],
        unlinked: Sequence[int] = (),
        twin: int = 0,
    ) -> None:
        self.draft = draft
        self.tables = draft.tables
        self.spans = tuple(dict.fromkeys(spans))
        self._unlinked = unlinked
        self.twin = twin
        self.changed: Changed = draft.overlay.changed()
        self._word = np.dtype(draft.tables.format.word.dtype)
        self._before = Places.of(draft.original, self.spans)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._differ))

    def __repr__(self) -> str:
        return f"<Plan: {len(self):,} words of {len(self.changed.paddrs):,} blocks>"

    def __str__(self) -> str:
        return plan_text(self)

    def json(self) -> dict[str, Any]:
        """The plan as plain data: addresses and entries as hex strings, sizes and counts as numbers."""
        return plan_json(self)

    @cached_property
    def _differ(self) -> npt.NDArray[np.bool_]:
        """Which words of the blocks differ. Shape (blocks, words)."""
        return self.changed.was.view(self._word) != self.changed.now.view(self._word)

    @cached_property
    def words(self) -> npt.NDArray[np.void]:
        """Every word that changes, by physical address: shape (n,), of ``WORD``."""
        block, word = np.nonzero(self._differ)
        found = np.empty(len(block), WORD)
        found["paddr"] = self.changed.paddrs[block] + word.astype(np.uint64) * np.uint64(self._word.itemsize)
        for name, bytes_ in (("old", self.changed.was), ("new", self.changed.now)):
            found[name] = bytes_.view(self._word)[self._differ]
        found["vaddr"], found["size"], found["depth"], found["fresh"] = 0, 0, -1, False
        counts = np.count_nonzero(self._differ, axis=1)
        for places in (self._before, self._after):
            self._locate(found, places, places.find_in(self.changed.paddrs, counts, found["paddr"]))
        return found

    def _locate(self, words: npt.NDArray[np.void], places: Places, at: npt.NDArray[np.intp]) -> None:
        """Say of words what they translate, by the tables that hold them; -1: none does."""
        fresh = places is self._after
        new = ~np.isin(places.paddrs, self._before.paddrs) if fresh else np.zeros(len(places.paddrs), np.bool_)
        for number, level in enumerate(places.levels):
            of_level = np.flatnonzero((at >= 0) & (places.which[at] == number)) if len(places.paddrs) else at[:0]
            mine = slice(None) if len(of_level) == len(at) else of_level
            table = at[mine]
            slot = (words["paddr"][mine] - places.paddrs[table]) // np.uint64(level.word.size)
            words["vaddr"][mine] = places.vaddrs[table] + (slot << np.uint64(level.shift))
            words["size"][mine], words["depth"][mine], words["fresh"][mine] = level.span, level.real_depth, new[table]

    @cached_property
    def _after(self) -> Places:
        """The tables as they are to be."""
        return Places.of(self.tables, self.spans)

    @cached_property
    def _added(self) -> Places:
        """The new ones."""
        return self._after.without(self._before)

    @property
    def added(self) -> tuple[TableAt, ...]:
        """The tables that are new."""
        return self._added.tables()

    @cached_property
    def freed(self) -> tuple[TableAt, ...]:
        """The tables that nothing points to any more: nobody may use them before the invalidations are done."""
        if not self._unlinked:
            return ()
        ours = set(self._unlinked) - set(Links.of(self.tables).paddrs.tolist())
        return tuple(table for table in self._before.tables() if table.paddr in ours)

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """Where tables are that change, or lead to one that does, and that more than one entry leads to.

        What changes in them changes at more addresses than the words say, so everything is to be invalidated.
        """
        links = Links.of(self.draft.original)
        often = links.paddrs[links.counts > 1]
        return tuple(often[np.isin(often, self._before.paddrs)].tolist()) if self._alters else ()

    @property
    def _alters(self) -> bool:
        """Whether a word changes of a table that was there."""
        return not bool(self.words["fresh"].all())

    @cached_property
    def flushes(self) -> tuple[Flush, ...]:
        """What CPUs must be told to forget, by address."""
        return flushes_of(self.tables, self.words)

    @property
    def cpus(self) -> tuple[int, ...] | None:
        """The CPUs that have the page tables loaded, of those that must be told; None: nobody knows."""
        return loaded(self.draft.before, self.twin, (flush.vaddr for flush in self.flushes))

    def runs(self) -> Iterator[tuple[int, bytes, bytes]]:
        """The words that change as runs of neighbours, in the order in which they are to be written.

        New tables first: nothing points to them yet. Then what points to them, the lowest level first.

        Yields:
            A physical address, the bytes that are there, and those that are to be.
        """
        words = self.words
        order = np.lexsort((words["paddr"], -words["depth"], ~words["fresh"]))
        words = words[order]
        step = np.uint64(self._word.itemsize)
        cuts = np.flatnonzero(words["paddr"][1:] - words["paddr"][:-1] != step) + 1
        for some in np.split(words, cuts) if len(words) else ():
            old, new = (some[name].astype(self._word).tobytes() for name in ("old", "new"))
            yield int(some["paddr"][0]), old, new
