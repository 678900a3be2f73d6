"""What a kernel leaves in memory that can be known by sight, found in one pass over all bytes.

VMCOREINFO begins a page with its first key. BTF begins with a magic number. The task that runs where nothing else does
has a name of its own; its first is in the kernel's image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.memory import blocks_of
from pagewalk.sources.linux.btf import MAGIC

if TYPE_CHECKING:
    from pagewalk.memory import Memory

__all__ = ["IDLE", "IDLE_ALONE", "Anchors", "find_anchors"]

IDLE: Final = b"swapper/"
"""How the names of idle tasks begin; a number follows."""
IDLE_ALONE: Final = b"swapper\0"
"""The name of the only one of a kernel for one CPU."""
_FIRST_KEY: Final = np.uint64(int.from_bytes(b"OSRELEAS", "little"))
_PAGE: Final = 4096
_MOST: Final = 256
"""Places of each kind: a memory full of them is a trap."""
_LEAST, _LARGEST = 24, 256
"""Bytes of BTF's header."""


class Anchors(NamedTuple):
    """Physical addresses, ascending.

    Attributes:
        vmcoreinfo: Of pages that begin as VMCOREINFO does.
        btf: Of what begins as BTF does.
        idle: Of names of idle tasks.
    """

    vmcoreinfo: list[int]
    btf: list[int]
    idle: list[int]


def find_anchors(memory: Memory, *, first: int = 0, end: int = 1 << 64, idle: bytes = IDLE) -> Anchors:
    """Where they are.

    Args:
        memory: One that says where it has bytes.
        first, end: Physical addresses to look between.
        idle: Eight bytes with which the name of an idle task begins.

    Raises:
        UnsupportedError: It does not say where it has memory.
        MemoryReadError: What it says it has cannot be read.
    """
    found = Anchors([], [], [])
    name = np.uint64(int.from_bytes(idle, "little"))
    for paddr, block in blocks_of(memory, first=first, end=end):
        skipped = -paddr % 8
        size = max(len(block) - skipped, 0) & ~7
        if not size:
            continue
        words = np.frombuffer(block, "<u8", size // 8, skipped)
        start = paddr + skipped
        page = -start % _PAGE // 8
        _note(found.vmcoreinfo, np.flatnonzero(words[page :: _PAGE // 8] == _FIRST_KEY), start + 8 * page, _PAGE)
        _note(found.idle, np.flatnonzero(words == name), start, 8)
        halves = words.view("<u4")
        _note(found.btf, _headers(halves), start, 4)
    return found


def _headers(halves: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Where BTF may begin, by the words of its header so far as they are in the block."""
    at = np.flatnonzero(halves == np.uint32(MAGIC))
    whole = at[at < len(halves) - 2]
    size = halves[whole + 1]
    fits = (size >= _LEAST) & (size <= _LARGEST) & (halves[whole + 2] == 0)
    return np.concatenate([whole[fits], at[len(whole) :]])


def _note(places: list[int], found: np.ndarray[tuple[int], np.dtype[np.intp]], start: int, step: int) -> None:
    """Add some places, so long as there is room."""
    if len(found) and len(places) < _MOST:
        places += [start + step * at for at in found[: _MOST - len(places)].tolist()]
