"""The bytes of a flat memory as one array, however many segments it has.

How it works. The segments lie anywhere in this process. One array of words begins where the first of them lies and ends
where the last does: then a table is a number, that of its first word, whichever segment holds it, and neither NumPy nor
a compiled kernel goes through segments. What lies between them is not the memory's, and may not even exist: only places
that ``InPlace.places`` has found may be looked at, and never the whole array.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.errors import MemoryReadError
from pagewalk.memory import FlatMemory, Segment, is_flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pagewalk.formats import Word
    from pagewalk.memory import Memory
    from pagewalk.memory.overlay import Overlay

    Words = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Held", "InPlace"]

_FEW: Final = 4
"""Borders between segments that are looked at one after the other, which costs less than a search for each table."""
_NOWHERE: Final = (1 << 64) - 1


class InPlace:
    """The segments of a memory whose words can be used in place.

    Args:
        memory: Any; one that is not flat has none.
        word: An entry as it lies in memory; one whose bytes lie in another order than this machine's has none.

    Attributes:
        words: All of them as one array. Shape (n,), of the word's type.
        starts, sizes, offsets: For each segment its first physical address, how many bytes it has, and where they begin
            in ``words``, in bytes. Ascending, and filled up to a power of two with empty ones, as the kernels take
            them. uint64.
    """

    def __init__(self, memory: Memory, word: Word) -> None:
        self.word = np.dtype(word.dtype)
        segments = memory.segments if is_flat(memory) and word.is_native else ()
        held = [np.frombuffer(segment.data, np.uint8) for segment in segments]
        runs = [
            run
            for segment, data in zip(segments, held, strict=True)
            if (run := _run(segment.start, data.ctypes.data, len(data), word.size))
        ]
        base = min((at for _, _, at in runs), default=0)
        end = max((at + size for _, size, at in runs), default=0)
        self.words: npt.NDArray[Any] = _words(base, end - base, held, self.word)
        more = (1 << max(len(runs) - 1, 0).bit_length()) - len(runs)
        self.starts = np.array([start for start, _, _ in runs] + [_NOWHERE] * more, np.uint64)
        self.sizes = np.array([size for _, size, _ in runs] + [0] * more, np.uint64)
        self.offsets = np.array([at - base for _, _, at in runs] + [0] * more, np.uint64)
        self._runs = runs
        self._borders = [start for start, _, _ in runs]
        self._moves = [at - base - start for start, _, at in runs]

    @property
    def writable(self) -> bool:
        """Whether there are any words, and they can be written."""
        return bool(self._runs) and self.words.flags.writeable

    def __bool__(self) -> bool:
        """Whether there are any words."""
        return bool(self._runs)

    def places(self, paddrs: Words, size: int) -> tuple[Places, Mask | None]:
        """The numbers of the words where tables begin.

        Args:
            paddrs: Their physical addresses in bytes. Shape (n,), uint64.
            size: Bytes of a table, all of which must lie in one segment.

        Returns:
            A place each, shape (n,), and which are not to be used: those of tables that do not lie in a segment, shape
            (n,), bool; None if all do.
        """
        at = self._near(paddrs, size) if len(paddrs) else paddrs.copy()
        if at is None or int(np.bitwise_or.reduce(at)) % self.word.itemsize:
            return self._anywhere(paddrs, size)
        return self._as_places(at), None

    def fresh_places(self, paddrs: Words, size: int) -> tuple[Places, Mask | None]:
        """As ``places``, of tables all of which is to be written."""
        return self.places(paddrs, size)

    def _near(self, paddrs: Words, size: int) -> Words | None:
        """Bytes from the start of ``words``, if all tables lie in few segments and none outside."""
        low, high = int(paddrs.min()), int(paddrs.max())
        first, last = bisect_right(self._borders, low) - 1, bisect_right(self._borders, high) - 1
        if first < 0 or last - first > _FEW or high >> 63 or high - self._borders[last] > self._runs[last][1] - size:
            return None
        at: Words = paddrs + _word(self._moves[last])
        for segment in range(first + 1, last + 1):
            gap = self._gap(segment, size)
            beyond = paddrs - _word(self._borders[segment] - gap)
            if int(beyond.min()) < gap:
                return None
            below = beyond.view(np.int64)
            below >>= 63  # all ones below the border, else 0; in place, since new arrays cost page faults
            beyond &= _word(self._moves[segment - 1] - self._moves[segment])
            at += beyond
        return at

    def _gap(self, segment: int, size: int) -> int:
        """How many addresses before a segment no table of so many bytes begins at."""
        start, held, _ = self._runs[segment - 1]
        return self._borders[segment] - start - max(held - size + 1, 0)

    def _anywhere(self, paddrs: Words, size: int) -> tuple[Places, Mask | None]:
        """The same, with a search for each table."""
        if not self._runs:
            return np.zeros(len(paddrs), np.intp), np.ones(len(paddrs), np.bool_)
        segment = self.starts.searchsorted(paddrs, side="right") - 1  # -1 is the last: the address is below it
        inside = paddrs - self.starts[segment]
        room = self.sizes - np.minimum(self.sizes, _word(size - 1))
        outside: Mask = (inside >= room[segment]) | (inside % _word(self.word.itemsize) != 0)
        return self._as_places(inside + self.offsets[segment]), outside if outside.any() else None

    def _as_places(self, at: Words) -> Places:
        """Bytes from the start of the words made numbers of words, in place."""
        at >>= np.uint64(self.word.itemsize.bit_length() - 1)
        return at.view(np.intp)

    def rows(self, places: Places, entries: int, out: Words) -> Words:
        """Whole tables: shown where they lie if they follow each other, else copied.

        Args:
            places: Where they begin, by ``places``; at least one.
            entries: Words of a table, a power of two.
            out: Room for them, shape (n, entries) at least.
        """
        first, count, spread = int(places[0]), len(places), places - places[0]
        if int(spread[-1]) == (count - 1) * entries and (
            count == 1 or bool((spread[1:] - spread[:-1] == entries).all())
        ):
            return self.words[first : first + count * entries].reshape(count, entries).astype(np.uint64, copy=False)
        for where, tables, row in self._by_lead(places, entries):
            if isinstance(where, slice) and self.word == out.dtype:
                return tables.take(row, axis=0, out=out[:count], mode="clip")
            out[:count][where] = tables.take(row, axis=0, mode="clip")
        return out[:count]

    def put_rows(self, places: Places, tables: Words) -> None:
        """Write whole tables: ``tables[i]`` where ``places[i]`` says."""
        for where, theirs, row in self._by_lead(places, tables.shape[1]):
            theirs[row] = tables[where]

    def _by_lead(self, places: Places, entries: int) -> Iterator[tuple[Places | slice, npt.NDArray[Any], Places]]:
        """Tables as rows of arrays of tables, one array if they all lie whole tables apart: segments need not."""
        leads = places % entries
        if (leads == leads[0]).all():
            yield slice(None), self._table_rows(int(leads[0]), entries), places // entries
            return
        for lead in np.unique(leads).tolist():
            where = np.flatnonzero(leads == lead)
            yield where, self._table_rows(lead, entries), places[where] // entries

    def _table_rows(self, lead: int, entries: int) -> npt.NDArray[Any]:
        """The words as tables, from one of the first on."""
        count = (len(self.words) - lead) // entries
        return self.words[lead : lead + count * entries].reshape(count, entries)


class Held(InPlace):
    """The copies that an overlay keeps of tables: whoever asks where one is has it copied first.

    Args:
        overlay: The overlay.
        word: As of ``InPlace``.
    """

    def __init__(self, overlay: Overlay, word: Word) -> None:
        super().__init__(FlatMemory([Segment(0, overlay.arena.data)]), word)
        self._overlay = overlay

    def places(self, paddrs: Words, size: int) -> tuple[Places, Mask | None]:
        """See ``InPlace``; no table is larger than a block, or in two."""
        try:
            return self._as_places(self._overlay.hold(paddrs)), None
        except MemoryReadError:
            return self._one_by_one(paddrs)

    def fresh_places(self, paddrs: Words, size: int) -> tuple[Places, Mask | None]:
        """See ``InPlace``."""
        try:
            return self._as_places(self._overlay.hold(paddrs, fresh=size == self._overlay.block)), None
        except MemoryReadError:
            return self._one_by_one(paddrs)

    def _one_by_one(self, paddrs: Words) -> tuple[Places, Mask]:
        """The same where some are not in the memory."""
        at, outside = np.zeros(len(paddrs), np.uint64), np.zeros(len(paddrs), np.bool_)
        for number in range(len(paddrs)):
            try:
                at[number] = self._overlay.hold(paddrs[number : number + 1])[0]
            except MemoryReadError:
                outside[number] = True
        return self._as_places(at), outside


def _run(start: int, at: int, size: int, word: int) -> tuple[int, int, int] | None:
    """The whole words of a segment.

    Args:
        start: Its first physical address.
        at: Where it lies in this process.
        size: Its bytes.
        word: Bytes of a word.

    Returns:
        The first three for the words; None if there are none, or they do not lie as words must.
    """
    lead = -start % word
    size = (size - lead) // word * word
    return None if size <= 0 or (at + lead) % word else (start + lead, size, at + lead)


def _word(number: int) -> np.uint64:
    """A number as a word, whatever its sign."""
    return np.uint64(number % (1 << 64))


class _Shown:
    """What NumPy makes an array of; keeps the bytes alive that it shows.

    Args:
        interface: NumPy's array interface, version 3.
        owners: Whose bytes they are.
    """

    def __init__(self, interface: dict[str, Any], owners: list[Any]) -> None:
        self.__array_interface__ = interface
        self.owners = owners


def _words(base: int, size: int, held: list[Any], word: np.dtype[Any]) -> npt.NDArray[Any]:
    """The array of all words from an address in this process on; it can be written if all segments can."""
    if not size:
        return np.empty(0, word)
    shape, readonly = (size // word.itemsize,), not all(data.flags.writeable for data in held)
    interface = {"data": (base, readonly), "shape": shape, "typestr": word.str, "version": 3}
    return np.asarray(_Shown(interface, held))
