"""Entries decoded by the array: what is present, nearly always all of it, takes the short way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat

    Words = npt.NDArray[np.uint64]

__all__ = ["decode"]


def decode(form: PagingFormat, entry: Words, level: Level) -> tuple[Words, Words, Words]:
    """What ``form.frame``, ``form.flags`` and ``form.kind`` say, in one go.

    Args:
        form: The paging format.
        entry: Raw entries of the level, none of them a table. Shape (n,), uint64.
        level: Their level.

    Returns:
        Frames in bytes (``NO_PADDR`` where there is none), ``Flag`` bits and ``Kind``: shape (n,), uint64, each.
    """
    flags = form.leaf_flags(entry)
    frame = form.leaf_paddr(entry, level)
    frame |= (flags >> (Flag.NO_FRAME.bit_length() - 1) & 1) * np.uint64(NO_PADDR)
    kind = np.full(len(entry), Kind.PRESENT.value, np.uint64)
    absent = ~form.is_valid(entry)
    if absent.any():
        rest = entry[absent]
        frame[absent], flags[absent], kind[absent] = form.frame(rest, level), form.flags(rest), form.kind(rest)
    return frame, flags, kind
