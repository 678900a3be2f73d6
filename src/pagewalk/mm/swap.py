"""A simulated swap device: pages by slot."""

from __future__ import annotations

import threading

from pagewalk.errors import OutOfFrames

__all__ = ["SwapDevice"]


class SwapDevice:
    """Slots for pages that were swapped out; slot 0 is the header and never used.

    Args:
        size: Bytes; 0 for a machine without swap.
    """

    def __init__(self, size: int = 0) -> None:
        self.slots = max(size // 4096 - 1, 0)
        self._pages: dict[int, bytes] = {}
        self._users: dict[int, int] = {}
        self._lock = threading.Lock()
        self._free = list(range(self.slots, 0, -1))

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
            if not self._free:
                raise OutOfFrames(f"swap is full: {self.slots} slots")
            slot = self._free.pop()
            self._pages[slot], self._users[slot] = page, 1
            return slot

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
