"""The marks of userfaultfd's write protection in entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.errors import UnsupportedError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.entries import is_page

if TYPE_CHECKING:
    from pagewalk.mm.entries import LevelEntries
    from pagewalk.mm.state.tables import Entries

__all__ = ["protected", "unprotected"]


def protected(level: LevelEntries, entries: Entries, *, markers: bool = False, guards: bool = False) -> Entries:
    """Entries marked as write-protected; markers where nothing is, and guards, if wanted.

    Raises:
        UnsupportedError: One stands for a poisoned page: the kernel marks those too.
    """
    result, kinds = entries.copy(), level.kind(entries)
    if (kinds == Kind.HWPOISON).any():
        raise UnsupportedError("write-protecting a poisoned page with userfaultfd is not simulated")
    pages, swapped = is_page(kinds), (kinds == Kind.SWAP) | (guards & (kinds == Kind.GUARD))
    result[pages] = level.with_flags(level.without(result[pages], Flag.WRITE), Flag.UFFD_WP)
    result[swapped] = level.swapped_with(result[swapped], Flag.UFFD_WP)
    if markers:
        result[kinds == Kind.NONE] = level.write_protected
    return result


def unprotected(level: LevelEntries, entries: Entries, *, guards: bool = False) -> Entries:
    """Entries without userfaultfd's marks, guards among them, if wanted."""
    result, kinds = entries.copy(), level.kind(entries)
    pages, swapped = is_page(kinds), kinds == Kind.SWAP
    result[pages] = level.without(result[pages], Flag.UFFD_WP)
    result[swapped] = level.swapped_without(result[swapped], Flag.UFFD_WP)
    result[kinds == Kind.UFFD_WP] = level.none
    if guards:
        result[kinds == Kind.GUARD] = level.guard
    return result
