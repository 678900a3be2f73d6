"""An area: a VMA of a simulated address space, with the history of its anonymous pages."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from pagewalk.errors import SystemCallError
from pagewalk.space import Vma, VmaFlags

__all__ = ["RIGHTS", "SPECIAL", "AnonHistory", "Area"]

SPECIAL: Final = VmaFlags.IO | VmaFlags.DONTEXPAND | VmaFlags.PFNMAP | VmaFlags.MIXEDMAP
RIGHTS: Final = VmaFlags.READ | VmaFlags.WRITE | VmaFlags.EXEC


class AnonHistory:
    """Stands for an ``anon_vma``: only its identity counts."""

    __slots__ = ()


@dataclass(eq=False, repr=False)
class Area(Vma):
    """A VMA of a simulated address space.

    Attributes:
        anon: The history of its anonymous pages; None while it has none.
        chain: How many histories it hangs on: 1, or more below a fork.
        promised: Numbers of the pages of its file that the pool owes whoever mapped it, privately; the pieces that it
            is cut into share the set. None if nothing was promised.
        robbed: A page that it had by a fork was taken from it (HPAGE_RESV_UNMAPPED): no other is brought in.
        guarded: A guard was once installed in it, so that a fork must copy its entries (VM_MAYBE_GUARD). It stays with
            whatever the area is merged into.
    """

    anon: AnonHistory | None = None
    chain: int = 0
    promised: set[int] | None = None
    robbed: bool = False
    guarded: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Private memory without a file."""
        return self.mapping is None

    @property
    def has_uncowed_parents(self) -> bool:
        """Whether it may still share pages with a parent."""
        return self.anon is not None and self.chain > 1

    def refuse_sealed(self) -> None:
        """Refuse to change what ``mseal`` has sealed.

        Raises:
            SystemCallError: EPERM.
        """
        if VmaFlags.SEALED in self.flags:
            raise SystemCallError(errno.EPERM, f"the mapping at {self.start:#x} is sealed")

    def start_write(self) -> None:
        """Wait for who holds only this area's lock, and keep them out until ``mmap_lock`` is let go."""
        if self.lock is not None:
            self.lock.start_write()

    def offset_at(self, addr: int) -> int:
        """Its offset, continued to ``addr``."""
        return self.offset + addr - self.start
