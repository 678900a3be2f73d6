"""A simulated swap device: pages by slot."""

from __future__ import annotations

import threading
from typing import Final

from pagewalk.doors import not_negative
from pagewalk.errors import OutOfFrames

__all__ = ["SwapDevice"]

MOST_SLOTS: Final = (1 << 50) - 1
"""What the offset of a swap entry can name."""


class SwapDevice:
    """Slots for pages that were swapped out; slot 0 is the header and never used.

    Args:
        size: Bytes; 0 for a machine without swap.

    Raises:
        TypeError, ValueError: No size, or more slots than a swap entry can name.
    """

    def __init__(self, size: int = 0) -> None:
        self.slots = max(not_negative(size, "swap") // 4096 - 1, 0)
        if self.slots > MOST_SLOTS:
            raise ValueError(f"swap of {size:#x} bytes: a swap entry has room for {MOST_SLOTS:#x} slots of 4096 bytes")
        self._pages: dict[int, bytes] = {}
        self._users: dict[int, int] = {}
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._fresh = 1

    @property
    def used(self) -> int:
        """Slots in use."""
        return len(self._pages)

    def put(self, page: bytes) -> int:
        """Write a page out: its slot, with one user.

        Raises:
            OutOfFrames: The device is full.
        """
        with self._lock:
            slot = self._take()
            self._pages[slot], self._users[slot] = page, 1
            return slot

    def _take(self) -> int:
        """A free slot: the one freed last, or one never used."""
        if self._free:
            return self._free.pop()
        if self._fresh > self.slots:
            raise OutOfFrames(f"swap is full: {self.slots} slots")
        self._fresh += 1
        return self._fresh - 1

    def get(self, slot: int) -> bytes:
        """A page's bytes."""
        return self._pages[slot]

    def hold(self, slot: int) -> None:
        """One more user of a slot."""
        with self._lock:
            self._users[slot] += 1

    def shared(self, slot: int) -> bool:
        """Whether a slot has more than one user."""
        return self._users[slot] > 1

    def drop(self, slot: int) -> None:
        """One user less; the last one frees the slot."""
        with self._lock:
            self._users[slot] -= 1
            if not self._users[slot]:
                del self._pages[slot], self._users[slot]
                self._free.append(slot)
