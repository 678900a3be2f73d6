"""kdump-compressed dumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.memory.dumps.kdump import Kdump
from tests.fuzz.target import Target
from tests.memory.kdumps import PACKERS, PAGE, Dump, written

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODULES", "TARGET", "dumps"]

MODULES = tuple(f"pagewalk.memory.{name}" for name in ("kdump", "kdump_file", "kdump_header", "bitmap", "pieces"))

HEADERS = (8, PAGE, 2 * PAGE, 4 * PAGE)
"""Behind the signature, before the sub-header, the bitmaps, the descriptors."""


def dumps() -> Iterator[bytes]:
    """One in each packing, and of machines of each kind."""
    pages = {1: b"a" * PAGE, 2: bytes(PAGE), 3: bytes(range(256)) * 16, 70: bytes(PAGE), 300: b"z" * PAGE}
    dump = Dump(pages, machine=frozenset({4, 5, 400}), level=31, vmcoreinfo=b"OSRELEASE=6.1\nPAGESIZE=4096\n")
    for packing in PACKERS:
        yield written(dump.but(packing=packing))
    for bits, order, name in ((32, "<", b"i686"), (32, ">", b"ppc"), (64, ">", b"s390x")):
        yield written(dump.but(bits=bits, order=order, name=name))
    yield written(dump.but(split=(2, 100)))
    yield written(dump.but(status=8, lost=frozenset({3, 70})))


TARGET = Target(lambda: list(dumps()), Kdump, HEADERS, MODULES)
