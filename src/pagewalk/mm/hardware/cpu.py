"""The CPU: what it lets a process do with memory, as far as tables alone do not say it.

Protection keys, as far as the kernel uses them unasked: for memory that may be executed and not read. How it works: x86
has no bit that refuses reading. Where the CPU has protection keys, memory mapped or protected with
PROT_EXEC alone gets a key whose data the PKRU register refuses; fetching instructions is not its matter. An address
space takes one key for this, the first that is free, with its first such memory; ``pkey_alloc`` takes others. Its
children inherit all of it. A process starts with a PKRU that refuses every key but 0. The key is part of ``vm_flags``:
areas of different keys never merge, nor share a history.
(``arch/x86/mm/pkeys.c``, ``do_mmap``, ``do_mprotect_pkey``, ``access_error``; Linux 6.18.)
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Final, Literal

from pagewalk import abi
from pagewalk.abi.limits import PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats import PagingFormat
    from pagewalk.space import Vma

    Access = Literal["read", "write", "execute"]

__all__ = ["KEY", "Keys", "allows", "checked_pku", "flags_of_key"]

KEY: Final = VmaFlags.PKEY_BIT0 | VmaFlags.PKEY_BIT1 | VmaFlags.PKEY_BIT2 | VmaFlags.PKEY_BIT3
KEYS: Final = 16
"""Of a CPU that has any; 0 is everybody's."""

WANTED: Final = {
    "read": VmaFlags.READ | VmaFlags.WRITE | VmaFlags.EXEC,  # reading cannot be refused where more is allowed
    "write": VmaFlags.WRITE,
    "execute": VmaFlags.READ | VmaFlags.WRITE | VmaFlags.EXEC,  # the page comes first, then its right is looked at
}


def allows(area: Vma, access: Access) -> bool:
    """Whether an area's rights allow an access."""
    return bool(area.flags & WANTED[access])


def checked_pku(form: PagingFormat, pku: object) -> bool:
    """Whether a machine's CPU has protection keys, as its maker says.

    Raises:
        TypeError: That is not a bool.
        ValueError: The format has no room for keys.
    """
    if not isinstance(pku, bool):
        raise TypeError(f"pku is True or False, not {pku!r}")
    if pku and not form.last.has_keys:
        raise ValueError(f"{form.name} has no protection keys: leave pku out")
    return pku


def flags_of_key(key: int) -> VmaFlags:
    """An area's flags for a protection key."""
    return VmaFlags(key * int(VmaFlags.PKEY_BIT0))


class Keys:
    """The protection keys of an address space.

    Args:
        pku: Whether the CPU has any. Where it has not, the kernel's books have a single one: it is taken by the first
            who asks, who does not get it (EINVAL), and is given back by nobody.

    Attributes:
        taken: The keys in use, a bit a key.
        execute_only: That of memory that may only be executed; None before there was any.
        rights: What the PKRU register refuses of each: PKEY_DISABLE_*.
    """

    def __init__(self, pku: bool) -> None:
        self.pku = pku
        self.taken = 1 if pku else 0
        self.execute_only: int | None = None if pku else 0
        self.rights = [0] + [PKEY_DISABLE_ACCESS] * (KEYS - 1)
        self._asked = True

    def copy(self) -> Keys:
        """Those of a child."""
        twin = copy(self)
        twin.rights = list(self.rights)
        return twin

    def take(self) -> int | None:
        """A key that is free; None: there is none."""
        most = KEYS if self.pku else 1
        key = next((key for key in range(most) if not self.taken >> key & 1), None)
        self.taken |= 0 if key is None else 1 << key
        return key

    def is_taken(self, key: int) -> bool:
        """Whether a process took a key, and may use it."""
        return 0 <= key < KEYS and key != self.execute_only and bool(self.taken >> key & 1)

    def of_prot(self, prot: int) -> int:
        """The key of memory with these rights that nobody chose."""
        if not self.pku or prot != abi.PROT_EXEC:
            return 0
        if self.execute_only is None:
            self.execute_only = self.take()
            if self.execute_only is not None:
                self.rights[self.execute_only] = PKEY_DISABLE_ACCESS
        return self.execute_only or 0

    def permits(self, area: Vma, access: Access) -> bool:
        """Whether an area's key permits an access. The kernel asks this first, before rights and guards."""
        refused = self.rights[area.protection_key] if access != "execute" and self._asked else 0
        return not refused & (PKEY_DISABLE_ACCESS | (PKEY_DISABLE_WRITE if access == "write" else 0))

    @contextmanager
    def unasked(self) -> Iterator[None]:
        """Accesses by the kernel for somebody else: the register of whoever runs does not count (FOLL_REMOTE)."""
        self._asked = False
        try:
            yield
        finally:
            self._asked = True
