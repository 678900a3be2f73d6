"""Roots in bare memory, without symbols.

How it works. A format says what its root pages look like. One pass over the memory (``scan``) has the pages that look
so; roots that are smaller than a page cost more, and take a second pass where the first finds no kernel. A few words of
the tables below (``sieve``) tell most fakes. What is left is proved by going down from it (``proof``): only page tables
lead, through entries that say what entries can say, to pages that programs may use. Of several formats the deepest that
explains the same roots is right, and what a proved root points to is no root (``choose``). The kernel's part of a root
must map most of the memory at one distance, and the kernel's own root maps itself in the kernel's image as well
(``kernels``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.errors import UnsupportedError
from pagewalk.formats import FORMATS, PagingFormat, find_format, system, systems_of
from pagewalk.sources.finding.choose import explained, prove, settle
from pagewalk.sources.finding.reader import Reader
from pagewalk.sources.finding.reading import Reading
from pagewalk.sources.finding.scan import scan
from pagewalk.sources.finding.sieve import Sieve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pagewalk.memory import Memory
    from pagewalk.sources.finding.choose import Proved, Roots

__all__ = ["find", "searchable"]


def searchable(asked: Iterable[str | PagingFormat] | None, os: str | None) -> tuple[PagingFormat, ...]:
    """The formats that roots are looked for in; None: all that say what their root pages look like.

    Raises:
        UnsupportedError: One that does not, or as ``find_format``.
    """
    if asked is None:
        family = system(os).family
        every = (find_format(name, os if family in systems_of(name) else None) for name in FORMATS)
        return tuple(form for form in every if form.root_page is not None)
    forms = tuple(find_format(one, None if isinstance(one, PagingFormat) else os) for one in asked)
    for form in forms:
        if form.root_page is None:
            known = ", ".join(one.name for one in searchable(None, None))
            raise UnsupportedError(f"roots of {form.name} are not known by their looks: known are {known}")
    return forms


def find(
    memory: Memory, forms: Iterable[PagingFormat], progress: Callable[[int, int], None] | None = None
) -> list[Roots]:
    """The roots in a memory, by the formats that explain them.

    Args:
        memory: One that says where it has bytes.
        forms: Those to look for.
        progress: Given how many bytes the pass has gone through, and how many there are.

    Raises:
        UnsupportedError, MemoryReadError: As ``blocks_of``.
    """
    reader = Reader(memory)
    readings = [Reading(form, reader.top) for form in forms]
    pages = [one for one in readings if one.probe.size >= one.user.steps[-1].level.table_bytes]
    slots = [one for one in readings if one not in pages]
    told = _Told(progress, reader.size)
    proved = _proved(reader, pages, told)
    found = _settled(reader, proved)
    if slots and not any(one.users and one.kernels for one in found):
        found = _settled(reader, proved + _proved(reader, slots, told))
    return found


def _proved(reader: Reader, readings: Sequence[Reading], told: _Told) -> list[Proved]:
    """What one pass has, by each reading."""
    sieves = [Sieve(reader, reading) for reading in readings]
    told.expect(bool(sieves))
    for size, found in scan(reader.memory, (reading.probe for reading in readings)) if sieves else ():
        for sieve in sieves:
            if sieve.reading.probe in found:
                sieve.add(found[sieve.reading.probe])
        told.tell(size)
    proved = (prove(reader, sieve.reading, sieve.found()) for sieve in sieves)
    return [one for one in proved if one is not None]


def _settled(reader: Reader, proved: list[Proved]) -> list[Roots]:
    """What readings have in the end, those that explain the most; beside one with a kernel, none without counts."""
    found = [settle(reader, one) for one in explained(proved)]
    whole = [one for one in found if one.users and one.kernels]
    return whole or found


class _Told:
    """Says how far it is: a second pass is known of only when the first is over.

    Args:
        progress: Who is told; None: nobody.
        size: Bytes of a pass.
    """

    def __init__(self, progress: Callable[[int, int], None] | None, size: int) -> None:
        self._progress = progress
        self._size = size
        self._done = self._total = 0

    def expect(self, passes: int) -> None:
        """So many more passes will be made."""
        self._total += passes * self._size

    def tell(self, size: int) -> None:
        """So many more bytes are done."""
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)
