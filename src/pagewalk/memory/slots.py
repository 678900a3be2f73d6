"""The words of one table in a memory that has to be asked for them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pagewalk.memory.exact import read_exactly
from pagewalk.memory.writes import write_to, writes

if TYPE_CHECKING:
    from pagewalk.memory.protocol import Memory

__all__ = ["RemoteSlots"]

_WORD: Final = struct.Struct("<Q")


class RemoteSlots:
    """Slots of a memory that has to be asked.

    Each use asks for one slot, except while the table is *kept*: then all of them were read at once, and are read again
    where pagewalk has written anything since. What another writes to the memory meanwhile is seen by ``afresh``.

    Args:
        memory: Where they are.
        paddr: Physical address of the first.
        size: Their bytes.
        read: What they were at which count of writes, if they have just been read.
    """

    __slots__ = ("_kept", "_words", "memory", "paddr", "seen", "size")

    def __init__(self, memory: Memory, paddr: int, size: int, read: tuple[int, bytes] | None = None) -> None:
        self.memory = memory
        self.paddr = paddr
        self.size = size
        self.seen, data = read or (-1, bytes(size))
        self._words = list(_words_of(data))
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
        value: int = _WORD.unpack(read_exactly(self.memory, self.paddr + _WORD.size * index, _WORD.size))[0]
        return value

    def __getitem__(self, index: int) -> int:
        if not self._kept:
            return self._ask(index)
        if self.seen != writes():
            self.seen = writes()
            self._words = list(_words_of(read_exactly(self.memory, self.paddr, self.size)))
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self.seen = write_to(self.memory, self.paddr + _WORD.size * index, _WORD.pack(value), self.seen)
        self._words[index] = value

    def alone(self, index: int) -> RemoteSlots:
        """One slot by itself."""
        read = (self.seen, _WORD.pack(self._words[index])) if self._kept else None
        return RemoteSlots(self.memory, self.paddr + _WORD.size * index, _WORD.size, read)


def _words_of(data: bytes) -> tuple[int, ...]:
    """The words in bytes."""
    return struct.unpack(f"<{len(data) // _WORD.size}Q", data)
