"""A simulated swap device: pages by slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.doors import not_negative
from pagewalk.errors import OutOfFrames

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SwapDevice"]


class SwapDevice:
    """Slots for pages that were swapped out; slot 0 is the header and never used.

    Args:
        size: Bytes; 0 for a machine without swap.
        page_size: Bytes in a slot.
        most: How many slots a swap entry can name.

    Raises:
        TypeError, ValueError: No size, or more slots than a swap entry can name.
    """

    def __init__(self, size: int, page_size: int, most: int) -> None:
        self.slots = max(not_negative(size, "swap") // page_size - 1, 0)
        if self.slots > most:
            raise ValueError(f"swap of {size:#x} bytes: a swap entry has room for {most:#x} slots of {page_size} bytes")
        self._pages: dict[int, bytes] = {}
        self._users: dict[int, int] = {}
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
        self._users[slot] += 1

    def shared(self, slot: int) -> bool:
        """Whether a slot has more than one user."""
        return self._users[slot] > 1

    def users(self, slot: int) -> int:
        """How many entries name a slot."""
        return self._users[slot]

    def drop(self, slot: int) -> None:
        """One user less; the last one frees the slot."""
        self._users[slot] -= 1
        if not self._users[slot]:
            del self._pages[slot], self._users[slot]
            self._free.append(slot)

    def has(self, slot: int) -> bool:
        """Whether a slot holds a page."""
        return slot in self._pages

    def recount(self, users: Mapping[int, int]) -> None:
        """Say who uses the slots: those that nobody does are free."""
        self._pages = {slot: self._pages[slot] for slot in users}
        self._users = dict(users)
        self._free = [slot for slot in range(self._fresh - 1, 0, -1) if slot not in users]
