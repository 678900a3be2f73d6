"""LiME images."""

from __future__ import annotations

from pagewalk.memory.dumps.lime import LimeImage
from tests.fuzz.target import Target
from tests.memory.cores import lime


def _seeds() -> list[bytes]:
    page = bytes(range(256)) * 16
    return [
        lime([(0x1000, page), (0x8000, page * 2)]),
        lime([(0, page), (0x800, page), (1 << 40, page)]),
        lime([(at * 64, bytes(32)) for at in range(40)]),
        lime([(0x1000, page)]) + bytes(4096),
    ]


TARGET = Target(
    _seeds,
    LimeImage,
    header=8,
    modules=("pagewalk.memory.dumps.lime", "pagewalk.memory.dumps.dump", "pagewalk.memory.files.layout"),
)
