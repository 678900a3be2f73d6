"""A bit for each page: how many are set before one, and the runs of those that are set."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Bitmap"]

_STEP: Final = 1 << 17
"""Words that are looked at at a time."""
_WORD: Final = 64


class Bitmap:
    """Bits, the lowest of a byte first; looked at in place where that can be done.

    Args:
        data: They, in a multiple of 8 bytes.
    """

    def __init__(self, data: memoryview | bytes) -> None:
        array = np.frombuffer(data, "<u8")
        self._array = np.asarray(array if array.flags.aligned else array.copy(), np.uint64)
        self._words = self._array.data

    def __len__(self) -> int:
        return _WORD * len(self._array)

    def __getitem__(self, bit: int) -> bool:
        return bool(self._words[bit // _WORD] >> bit % _WORD & 1)

    @cached_property
    def _before(self) -> memoryview:
        """How many are set before each word, and in the end how many there are."""
        before = np.zeros(len(self._array) + 1, np.uint64)
        np.cumsum(np.bitwise_count(self._array), dtype=np.uint64, out=before[1:])
        return before.data

    def count(self) -> int:
        """How many are set."""
        return int(self._before[-1])

    def rank(self, bit: int) -> int:
        """How many are set before one; all of them for one past the end."""
        if bit >= len(self):
            return self.count()
        word, place = divmod(bit, _WORD)
        low: int = self._words[word] & (1 << place) - 1
        return int(self._before[word]) + low.bit_count()

    def set_in(self, bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of some bits are set; none past the end is. Shape (n,)."""
        found = bits < np.uint64(len(self))
        inside = bits[found]
        found[found] = self._array[inside // np.uint64(_WORD)] >> inside % np.uint64(_WORD) & np.uint64(1)
        return found

    def ranks(self, bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """``rank`` of many bits, none of them past the end. Shape (n,)."""
        word = bits // np.uint64(_WORD)
        low = self._array[word] & (np.uint64(1) << bits % np.uint64(_WORD)) - np.uint64(1)
        return np.asarray(self._before)[word] + np.bitwise_count(low)

    def runs(self) -> npt.NDArray[np.uint64]:
        """The runs of set bits, ``[first, end)`` of each, ascending. Shape (runs, 2), uint64."""
        edges, carry = [], np.uint64(0)
        for at in range(0, len(self._array), _STEP):
            words = self._array[at : at + _STEP]
            tops = words >> np.uint64(_WORD - 1)
            differs = words ^ (words << np.uint64(1) | np.concatenate([[carry], tops[:-1]]))
            carry = tops[-1]
            held = np.flatnonzero(differs)
            bits = np.unpackbits(differs[held].view(np.uint8), bitorder="little").reshape(-1, _WORD)
            row, bit = np.nonzero(bits)
            edges.append(((held[row] + at) * _WORD + bit).astype(np.uint64))
        if carry:
            edges.append(np.array([len(self)], np.uint64))
        return np.concatenate(edges or [np.empty(0, np.uint64)]).reshape(-1, 2)

    def without(self, places: npt.NDArray[np.intp]) -> Bitmap:
        """The same bits without some of those that are set, given by how many are set before each."""
        bits = np.unpackbits(self._array.view(np.uint8), bitorder="little")
        bits[np.flatnonzero(bits)[places]] = 0
        return Bitmap(np.packbits(bits, bitorder="little").tobytes())
