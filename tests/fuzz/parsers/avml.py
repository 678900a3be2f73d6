"""AVML images."""

from __future__ import annotations

import random

from pagewalk.memory.dumps.avml import AvmlImage
from tests.fuzz.target import Target
from tests.memory.avmls import BLOCK, avml

__all__ = ["TARGET"]

_M = 1 << 20


def _seeds() -> list[bytes]:
    """Blocks of some chunks, packed and copied; with zeros left out; in another order."""
    mixed = b"word" * 40_000 + random.Random(1).randbytes(70_000)
    gap = avml({_M: b"x" * BLOCK})
    return [
        avml({4096: mixed, _M: b"y" * 9000}),
        gap + avml({_M + 3 * BLOCK: b"z" * 4096}),
        avml({8 * _M: mixed, 0: b"w" * 8}),
    ]


TARGET = Target(
    _seeds,
    AvmlImage,
    32,
    ("pagewalk.memory.dumps.avml", "pagewalk.memory.dumps.avml_index", "pagewalk.memory.files.pieces"),
)
