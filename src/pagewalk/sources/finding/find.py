"""Roots in bare memory, without symbols.

How it works. A format says what its root pages look like. One pass over the memory (``scan``) has the pages, or slots,
that look so; a few words of the tables below (``sieve``) tell most fakes. What is left is proved by going down from it
(``proof``): only page tables lead, through entries that say what entries can say, to pages that programs may use. Of
several formats the deepest that explains the same roots is right, and what a proved root points to is no root
(``choose``). The kernel's part of a root must map most of the memory at one distance, and the kernel's own root maps
itself in the kernel's image as well (``kernels``).
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
    from collections.abc import Callable, Iterable

    from pagewalk.memory import Memory
    from pagewalk.sources.finding.choose import Roots

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
    sieves = [Sieve(reader, Reading(form, reader.top)) for form in forms]
    done = 0
    for size, found in scan(memory, (sieve.reading.probe for sieve in sieves)):
        for sieve in sieves:
            if sieve.reading.probe in found:
                sieve.add(found[sieve.reading.probe])
        done += size
        if progress is not None:
            progress(done, reader.size)
    proved = [prove(reader, sieve.reading, sieve.found()) for sieve in sieves]
    return [settle(reader, one) for one in explained([one for one in proved if one is not None])]
