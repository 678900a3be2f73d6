"""Roots in bare memory, without symbols.

How it works. A format says what its root pages look like. One pass over the memory (``scan``) has the places where a
word or a few of it look so. Of each the table that such a word leads to tells most fakes (``sieve``). What is left is
proved by going down from it (``proof``): only page tables lead, through entries that say what entries can say, to pages
that programs may use. Of several formats the deepest that explains the same roots is right, and what a proved root
points to is no root (``choose``). The kernel's part of a root must map most of the memory at one distance, and the
kernel's own root maps itself in the kernel's image as well (``kernels``).

Roots that are smaller than a page cost more, and take another pass where the first finds no kernel. Where the tables
below them can be told in the first, they are looked for only if some are there, and only what names one of those or
begins a page is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.errors import UnsupportedError
from pagewalk.formats import FORMATS, PagingFormat, find_format, system, systems_of
from pagewalk.sources.finding.choose import MOST, SOME, explained, prove, settle
from pagewalk.sources.finding.reader import Reader
from pagewalk.sources.finding.reading import Reading
from pagewalk.sources.finding.scan import scan
from pagewalk.sources.finding.sieve import Sieve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from pagewalk.memory import Memory
    from pagewalk.sources.finding.choose import Proved, Roots
    from pagewalk.sources.finding.reading import Probe
    from pagewalk.sources.finding.sieve import Candidates

    Words = npt.NDArray[np.uint64]

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
    pages = [one for one in readings if not one.is_slot]
    inner: dict[Reading, Reading] = {one.inner: one for one in readings if one.inner is not None}
    told = _Told(progress, reader.size)
    left = _left(reader, [*pages, *inner], told)
    proved = _proved(reader, pages, left)
    found = _settled(reader, proved)
    if not _has_kernel(found):
        known = {inner[one.reading]: one.roots for one in _proved(reader, inner, left, SOME) if one.users.any()}
        proved += _proved(reader, known, _left(reader, known, told, known))
        found = _settled(reader, proved)
    if not _has_kernel(found):
        slots = [one for one in readings if one.is_slot and one.inner is None]
        proved += _proved(reader, slots, _left(reader, slots, told))
        found = _settled(reader, proved)
    return found


def _left(
    reader: Reader, readings: Iterable[Reading], told: _Told, known: Mapping[Reading, Words] | None = None
) -> dict[Reading, Candidates]:
    """What one pass leaves of candidates, by reading.

    Args:
        reader: Reads tables.
        readings: What to look for.
        told: Is told how far the pass is.
        known: Addresses of tables below the top ones, as ``Sieve`` takes them.
    """
    alike: dict[Probe, list[Reading]] = {}
    for reading in readings:
        alike.setdefault(reading.probe, []).append(reading)
    sieves = {probe: Sieve(reader, some, None if known is None else known[some[0]]) for probe, some in alike.items()}
    told.expect(bool(sieves))
    for size, hits in scan(reader.memory, sieves) if sieves else ():
        for probe, some in hits.items():
            sieves[probe].add(some)
        told.tell(size)
    found = {probe: sieve.found() for probe, sieve in sieves.items()}
    return {reading: found[probe] for probe, some in alike.items() for reading in some}


def _proved(
    reader: Reader, readings: Iterable[Reading], left: Mapping[Reading, Candidates], most: int = MOST
) -> list[Proved]:
    """What looks like page tables of what is left, by each reading."""
    proved = (prove(reader, reading, left[reading], most) for reading in readings)
    return [one for one in proved if one is not None]


def _has_kernel(found: list[Roots]) -> bool:
    """Whether some reading has a kernel and programs."""
    return any(one.users and one.kernels for one in found)


def _settled(reader: Reader, proved: list[Proved]) -> list[Roots]:
    """What readings have in the end, those that explain the most.

    Beside one with a kernel none without counts, unless each of its roots has a kernel's part of its own.
    """
    found = [settle(reader, one) for one in explained(proved)]
    if not _has_kernel(found):
        return found
    return [one for one in found if one.users and (one.kernels or one.proved.reading.shared)]


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
