"""Bytes at virtual addresses: across pages, each run of frames in one piece, and holes told."""

from __future__ import annotations

from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from pagewalk.doors import integer, not_negative
from pagewalk.errors import NotPresent, TranslationError
from pagewalk.formats import Flag, Kind
from pagewalk.memory import is_flat, read_each, read_exactly
from pagewalk.query.listing import mappings
from pagewalk.sweep.reader import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.memory import Memory
    from pagewalk.space import AddressSpace
    from pagewalk.tables import PageTables

__all__ = ["Part", "bytes_of", "missing", "parts", "read"]

_READABLE = (int(Kind.PRESENT), int(Kind.PROT_NONE))
"""What has a frame: the bytes of a PROT_NONE page are there, though no program may look."""
_BATCH = 4096
"""Pages that a memory is asked for at once."""


class Part(NamedTuple):
    """A run of virtual addresses whose frames follow each other, or that has none.

    Attributes:
        vaddr, size: Where it is, in bytes.
        paddr: Its first byte's physical address; None: there are no bytes.
    """

    vaddr: int
    size: int
    paddr: int | None


def read(tables: PageTables | AddressSpace, vaddr: int, size: int) -> bytes:
    """Read bytes at virtual addresses.

    What the entries say of rights and of the accessed bit does not matter: a PROT_NONE page is read as well.

    Args:
        tables: Page tables, or an address space for its tables.
        vaddr, size: Which, in bytes; of any alignment.

    Raises:
        NotPresent: A page is not there: swapped out, a guard, a hole. It carries the first such address.
        Malformed, ReservedBits: The way to one is broken.
        NonCanonical: The range leaves the canonical addresses.
        PageNotInDump: The dump leaves a page's frame out.
        MemoryReadError: A frame is not in the memory, or the memory does not answer.
        ValueError: The size is negative.
    """
    size = not_negative(size, "size")
    found = []
    for part in parts(tables, vaddr, size):
        if part.paddr is None:
            raise missing(tables, part.vaddr)
        found.append(part)
    return b"".join(bytes_of(tables, found))


def missing(tables: PageTables | AddressSpace, vaddr: int) -> TranslationError:
    """Why an address has no bytes."""
    try:
        tables_of(tables).translate(vaddr)
    except TranslationError as error:
        return error
    return NotPresent(vaddr, -1, 0, "the tables have changed while they were read: hold the machine (stop=True)")


def parts(tables: PageTables | AddressSpace, vaddr: int, size: int) -> Iterator[Part]:
    """A range of addresses as parts, ascending and without a gap.

    Raises:
        NonCanonical: The range leaves the canonical addresses.
    """
    vaddr, size = integer(vaddr, "vaddr"), integer(size, "size")
    if not size:
        return
    at, end = vaddr, vaddr + size
    for start, paddr, length in _runs(tables_of(tables), vaddr, end):
        if start > at:
            yield Part(at, start - at, None)
        yield Part(start, length, paddr)
        at = start + length
    if at < end:
        yield Part(at, end - at, None)


def _runs(tables: PageTables, vaddr: int, end: int) -> Iterator[tuple[int, int, int]]:
    """What has frames in a range: address, physical address, bytes."""
    page = tables.format.last.span
    low, high = vaddr // page * page, -(-end // page) * page
    rows = mappings(tables, low, high, findings=[], kinds=_READABLE)
    names = ["vaddr", "paddr", "size", "page_size", "flags"]
    for start, paddr, length, span, flags in rows[names].tolist():
        step = span if flags & Flag.REPEATED else length
        for at in range(start, start + length, step):
            first, last = max(at, vaddr), min(at + step, start + length, end)
            if first < last:
                yield first, paddr + first - at, last - first


def bytes_of(tables: PageTables | AddressSpace, found: list[Part]) -> Iterator[bytes]:
    """The bytes of parts that have some. A memory that has to be asked is asked for many pages at once.

    Raises:
        PageNotInDump, MemoryReadError: Some are not in the memory.
    """
    memory, page = tables_of(tables).memory, tables_of(tables).format.last.span
    if is_flat(memory):
        most = _BATCH * page
        for part in found:
            for at in range(0, part.size, most):
                yield read_exactly(memory, int(part.paddr or 0) + at, min(most, part.size - at))
        return
    for size, some in groupby(_pieces(found, page), key=itemgetter(1)):
        paddrs = (paddr for paddr, _ in some)
        while batch := list(islice(paddrs, _BATCH)):
            yield b"".join(_asked(memory, batch, size))


def _pieces(found: list[Part], page: int) -> Iterator[tuple[int, int]]:
    """The frames of parts, a page or what is wanted of it at a time: physical address and bytes."""
    for part in found:
        at = int(part.paddr or 0)
        end = at + part.size
        while at < end:
            size = min(end - at, page - at % page)
            yield at, size
            at += size


def _asked(memory: Memory, paddrs: list[int], size: int) -> Iterator[bytes]:
    """As many bytes at each of some physical addresses; of one that has none, the memory says why."""
    for paddr, data in zip(paddrs, read_each(memory, paddrs, size), strict=True):
        yield read_exactly(memory, paddr, size) if data is None else data
