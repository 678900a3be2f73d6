"""Flattened kdump files."""

from __future__ import annotations

from pagewalk.memory.dumps.kdump import Kdump
from tests.fuzz.parsers.kdump import MODULES, dumps
from tests.fuzz.target import Target
from tests.memory.kdumps import flattened

__all__ = ["TARGET"]


def _seeds() -> list[bytes]:
    files = list(dumps())
    return [
        flattened(files[at], at, most=most, again=again)
        for at, most, again in ((1, 9000, 0), (2, 300, 9), (3, 900, 20))
    ]


TARGET = Target(_seeds, Kdump, 4096, (*MODULES, "pagewalk.memory.dumps.flattened"))
