"""hugetlb pages for a campaign: the pool of 2 MiB pages is enlarged, and as it was after it, however that ends.

The pool is the machine's: a campaign has it alone, and another one waits meanwhile.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.conform.sides.facts import free_hugetlb
from pagewalk.conform.sides.keeper import keep, kept
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

__all__ = ["PAGES", "huge_pool"]

PAGES = 4
"""Pages that a sequence may count on: few, so that it uses them up."""
_POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
_SIZE = _POOL / "nr_hugepages"
_COMPACT = Path("/proc/sys/vm/compact_memory")


@contextmanager
def huge_pool(pages: int = PAGES) -> Iterator[None]:
    """Let the machine have so many hugetlb pages of 2 MiB that nobody has, and that are promised to nobody.

    Raises:
        UnsupportedError: It cannot; the message says why.
    """
    with _alone(), kept("pagewalk.conform.sides.pool", str(pages)) as why:
        if why:
            raise UnsupportedError(f"hugetlb pages cannot be had: {why}; it takes root, and memory in blocks of 2 MiB")
        yield


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until nobody else has the pool."""
    try:
        folder = os.open(_POOL, os.O_RDONLY)
    except OSError as error:
        raise UnsupportedError(f"the kernel has no hugetlb pages of 2 MiB: {error}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _enlarge(after: ExitStack, pages: str) -> None:
    """Enlarge the pool; ``after`` is told how to undo it.

    Raises:
        OSError: Not permitted, or the kernel has no such memory.
    """
    before, lacking = int(_SIZE.read_text()), int(pages) - free_hugetlb()
    if lacking <= 0:
        return
    after.callback(_SIZE.write_text, str(before))
    _COMPACT.write_text("1")
    _SIZE.write_text(str(before + lacking))
    if free_hugetlb() < int(pages):
        raise OSError(f"the kernel gives {free_hugetlb()} of {pages} pages of 2 MiB")


if __name__ == "__main__":
    keep(_enlarge)
