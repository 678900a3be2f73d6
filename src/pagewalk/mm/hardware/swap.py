"""A simulated swap device: pages by slot, and those of them that are in memory too, the swap cache.

How it works. A page that is swapped out gets a slot. Its frame stays in the cache until it has been written, and
longer: nobody takes it while memory is not short. Whoever reads it back maps that frame, and the slot is kept, so that
it need not be written again if it stays clean. A slot is free when no entry names it and its page is in the cache no
more. A page of zeros is not written at all: only its slot notes it, so it does not stay. (``mm/swapfile.c``, 6.18.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.doors import not_negative
from pagewalk.errors import OutOfFrames
from pagewalk.mm.hardware.frames import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pagewalk.mm.hardware.pool import FramePool

__all__ = ["SwapDevice"]


class SwapDevice:
    """Slots for pages that were swapped out; slot 0 is the header and never used.

    Args:
        size: Bytes; 0 for a machine without swap.
        frames: Those of the machine; a slot holds as many bytes as one.
        most: How many slots a swap entry can name.

    Raises:
        TypeError, ValueError: No size, or more slots than a swap entry can name.

    Attributes:
        cached: The frames in the swap cache, by slot; each has a reference for it.
    """

    def __init__(self, size: int, frames: FramePool, most: int) -> None:
        self.slots = max(not_negative(size, "swap") // frames.page_size - 1, 0)
        if self.slots > most:
            room = f"a swap entry has room for {most:#x} slots of {frames.page_size} bytes"
            raise ValueError(f"swap of {size:#x} bytes: {room}")
        self._frames = frames
        self._pages: dict[int, bytes] = {}
        self._users: dict[int, int] = {}
        self._free: list[int] = []
        self._fresh = 1
        self.cached: dict[int, int] = {}
        self._slot_of: dict[int, int] = {}
        frames.on_shortage = self.squeeze

    @property
    def used(self) -> int:
        """Slots in use."""
        return len(self._pages)

    # -- slots -------------------------------------------------------------------------------------------------------

    def _take(self) -> int:
        """A free slot: the one freed last, or one never used."""
        if self._free:
            return self._free.pop()
        if self._fresh > self.slots:
            raise OutOfFrames(f"swap is full: {self.slots} slots")
        self._fresh += 1
        return self._fresh - 1

    def _free_unused(self, slot: int) -> None:
        """Free a slot that nobody has any more."""
        if not self._users[slot] and slot not in self.cached:
            del self._pages[slot], self._users[slot]
            self._free.append(slot)

    def hold(self, slot: int) -> None:
        """One more user of a slot."""
        self._users[slot] += 1

    def users(self, slot: int) -> int:
        """How many entries name a slot."""
        return self._users[slot]

    def drop(self, slot: int) -> None:
        """One user less; with the last one goes the slot, unless somebody maps its page."""
        self._users[slot] -= 1
        if not self._users[slot] and slot in self.cached and not self._is_mapped(self.cached[slot]):
            self.leave(slot)
        else:
            self._free_unused(slot)

    def has(self, slot: int) -> bool:
        """Whether a slot holds a page."""
        return slot in self._pages

    # -- the swap cache ----------------------------------------------------------------------------------------------

    def slot_of(self, paddr: int) -> int | None:
        """The slot of a frame in the swap cache."""
        return self._slot_of.get(paddr)

    def _is_mapped(self, paddr: int) -> bool:
        """Whether anybody but the cache has a frame."""
        return self._frames.holders(paddr) > 1

    def enter(self, paddr: int) -> int:
        """Write a page out that has no slot yet: its slot, without a user. Its frame is in the cache.

        Raises:
            OutOfFrames: The device is full.
        """
        slot = self._take()
        self._users[slot] = 0
        self.store(slot, paddr)
        self._cache(slot, paddr)
        self._frames.hold(paddr)
        return slot

    def store(self, slot: int, paddr: int) -> None:
        """Write a frame's bytes to a slot: it is clean."""
        self._pages[slot] = self._frames.memory.read(paddr, self._frames.page_size)
        self._frames.set_dirty(paddr, dirty=False)

    def fetch(self, slot: int) -> int:
        """The frame of a slot's page, read back into the cache if it was not there.

        Raises:
            OutOfFrames: There is no frame.
        """
        if slot not in self.cached:
            paddr = self._frames.take(Usage.SWAP_CACHE)
            self._frames.memory.write(paddr, self._pages[slot])
            self._frames.set_exclusive(paddr, exclusive=False)
            self._frames.recency.activate(self._frames.run(paddr, self._frames.page_size))  # as a refault does
            self._cache(slot, paddr)
        return self.cached[slot]

    def is_zero(self, slot: int) -> bool:
        """Whether a slot's page is all zeros."""
        return not any(self._pages[slot])

    def _cache(self, slot: int, paddr: int) -> None:
        """Note that a frame is in the cache."""
        self.cached[slot], self._slot_of[paddr] = paddr, slot
        self._frames.use(paddr, Usage.SWAP_CACHE)

    def leave(self, slot: int) -> None:
        """Take a page out of the cache: it is only in its slot, or only where it is mapped."""
        paddr = self.cached.pop(slot)
        del self._slot_of[paddr]
        self._frames.use(paddr, Usage.ANON)
        self._frames.drop(paddr)
        self._free_unused(slot)

    def let_go(self, paddr: int) -> bool:
        """Take a frame out of the cache if no entry names its slot: it is dirty then. Whether it is not there any more.

        Source: ``folio_free_swap``.
        """
        slot = self._slot_of.get(paddr)
        if slot is None:
            return True
        if self._users[slot]:
            return False
        self._frames.set_dirty(paddr)
        self.leave(slot)
        return True

    def unmapped(self, paddrs: Iterable[int]) -> None:
        """Frames have lost mappings: those that nobody maps or names any more leave the cache."""
        for paddr in paddrs:
            slot = self._slot_of.get(paddr)
            if slot is not None and not self._users[slot] and not self._is_mapped(paddr):
                self.leave(slot)

    def squeeze(self) -> None:
        """Memory is short: frames that are only in the cache are given back."""
        for slot, paddr in list(self.cached.items()):
            if not self._is_mapped(paddr):
                self.leave(slot)

    # -- pages of files ----------------------------------------------------------------------------------------------

    def move_out(self, paddr: int) -> int:
        """Write a file's page out, which nobody maps: its slot, with one user. The file's frame is the cache's now.

        Raises:
            OutOfFrames: The device is full.
        """
        slot = self.enter(paddr)
        self.hold(slot)
        self._frames.drop(paddr)
        if self.is_zero(slot):
            self.leave(slot)
        return slot

    def move_in(self, slot: int) -> int:
        """Read a file's page back: its frame, dirty, which is the file's now. The slot keeps its user.

        Raises:
            OutOfFrames: There is no frame.
        """
        paddr = self.fetch(slot)
        self._frames.hold(paddr)
        self.leave(slot)
        self._frames.use(paddr, Usage.FILE)
        self._frames.set_dirty(paddr)
        return paddr

    # -- counting anew -----------------------------------------------------------------------------------------------

    def recount(self, users: Mapping[int, int], mapped: Iterable[int]) -> list[int]:
        """Say who uses the slots: those that nobody does are free.

        Args:
            users: How many entries name each slot.
            mapped: Frames that somebody maps.

        Returns:
            The frames in the cache.
        """
        kept, there = set(mapped), self.cached.items()
        self.cached = {
            slot: paddr for slot, paddr in there if slot in self._pages and (users.get(slot) or paddr in kept)
        }
        self._slot_of = {paddr: slot for slot, paddr in self.cached.items()}
        self._pages = {slot: page for slot, page in self._pages.items() if users.get(slot) or slot in self.cached}
        self._users = {slot: users.get(slot, 0) for slot in self._pages}
        self._free = [slot for slot in range(self._fresh - 1, 0, -1) if slot not in self._pages]
        return list(self.cached.values())
