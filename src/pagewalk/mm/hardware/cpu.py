"""The CPU: what it lets a process do with memory, as far as tables alone do not say it.

Protection keys, as far as the kernel uses them unasked: for memory that may be executed and not read. How it works: x86
has no bit that refuses reading. Where the CPU has protection keys, memory mapped or protected with
PROT_EXEC alone gets a key whose data the PKRU register refuses; fetching instructions is not its matter. An address
space takes one key for this, the first that is free, with its first such memory, and its children inherit it: nothing
here can take another before (``pkey_alloc`` is not simulated), so it is always the same. Every thread starts with a
PKRU that refuses it. The key is part of ``vm_flags``: areas of different keys never merge, nor share a history.
(``arch/x86/mm/pkeys.c``, ``do_mmap``, ``do_mprotect_pkey``, ``access_error``; Linux 6.18.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pagewalk import abi
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.formats import PagingFormat
    from pagewalk.space import Vma

    Access = Literal["read", "write", "execute"]

__all__ = ["KEY", "allows", "checked_pku", "key_flags", "permits"]

KEY: Final = VmaFlags.PKEY_BIT0 | VmaFlags.PKEY_BIT1 | VmaFlags.PKEY_BIT2 | VmaFlags.PKEY_BIT3
EXECUTE_ONLY: Final = VmaFlags.PKEY_BIT0
"""Key 1: 0 is everybody's."""

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


def key_flags(prot: int, *, pku: bool) -> VmaFlags:
    """The key of memory with these rights on a CPU with or without keys; taking other rights drops it."""
    return EXECUTE_ONLY if pku and prot == abi.PROT_EXEC else VmaFlags(0)


def permits(area: Vma, access: Access) -> bool:
    """Whether an area's key permits an access. The kernel asks this first, before rights and guards."""
    return access == "execute" or not area.flags & KEY
