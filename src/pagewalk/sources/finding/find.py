"""Roots in bare memory, without symbols: one pass, a proof by walking, and what the proved ones are together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.sources.finding.choose import explained, prove, settle
from pagewalk.sources.finding.reader import Reader
from pagewalk.sources.finding.reading import Reading
from pagewalk.sources.finding.scan import scan
from pagewalk.sources.finding.sieve import Sieve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pagewalk.formats import PagingFormat
    from pagewalk.memory import Memory
    from pagewalk.sources.finding.choose import Roots

__all__ = ["find"]


def find(memory: Memory, forms: Iterable[PagingFormat], tell: Callable[[int], None] | None = None) -> list[Roots]:
    """The roots in a memory, by the formats that explain them."""
    reader = Reader(memory)
    readings = [Reading(form, reader.top) for form in forms]
    sieves = [Sieve(reader, reading) for reading in readings]
    for probe, candidates in scan(memory, (reading.probe for reading in readings), tell):
        for sieve in sieves:
            if sieve.reading.probe == probe:
                sieve.add(candidates)
    proved = [prove(reader, sieve.reading, sieve.found()) for sieve in sieves]
    return [settle(reader, one) for one in explained([one for one in proved if one is not None])]
