"""The words of one table in a memory that has to be asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.memory.exact import read_exactly
from pagewalk.memory.writes import write_to, writes

if TYPE_CHECKING:
    from pagewalk.formats import Word
    from pagewalk.memory.protocol import Memory

__all__ = ["RemoteSlots"]


class RemoteSlots:
    """Slots of a memory that has to be asked.

    Each use asks for one slot, except while the table is *kept*: then all of them were read at once, and are read again
    where pagewalk has written anything since. What another writes to the memory meanwhile is seen by ``afresh``.

    Args:
        memory: Where they are.
        paddr: Physical address of the first.
        size: Their bytes.
        word: One of them, as it lies in memory.
        read: What they were at which count of writes, if they have just been read.
    """

    __slots__ = ("_kept", "_words", "memory", "paddr", "seen", "size", "word")

    def __init__(
        self, memory: Memory, paddr: int, size: int, word: Word, read: tuple[int, bytes] | None = None
    ) -> None:
        self.memory = memory
        self.paddr = paddr
        self.size = size
        self.word = word
        self.seen, data = read or (-1, bytes(size))
        self._words = list(word.unpack(data))
        self._kept = False

    def keep(self) -> None:
        """Ask for all slots at once from now on."""
        self._kept = True

    def let_go(self) -> None:
        """Ask for each slot again at each use."""
        self._kept, self.seen = False, -1

    def afresh(self, index: int) -> None:
        """Ask for one slot now, though the table is kept."""
        if self._kept:
            self._words[index] = self._ask(index)

    def _ask(self, index: int) -> int:
        size = self.word.size
        return self.word.unpack(read_exactly(self.memory, self.paddr + size * index, size))[0]

    def __getitem__(self, index: int) -> int:
        if not self._kept:
            return self._ask(index)
        if self.seen != writes():
            self.seen = writes()
            self._words = list(self.word.unpack(read_exactly(self.memory, self.paddr, self.size)))
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self.seen = write_to(self.memory, self.paddr + self.word.size * index, self.word.pack([value]), self.seen)
        self._words[index] = value

    def alone(self, index: int) -> RemoteSlots:
        """One slot by itself."""
        size = self.word.size
        read = (self.seen, self.word.pack([self._words[index]])) if self._kept else None
        return RemoteSlots(self.memory, self.paddr + size * index, size, self.word, read)
