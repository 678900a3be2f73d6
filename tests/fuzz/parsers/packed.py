"""Compressed files, opened as a user's would be: bombs among them.

Bytes that are changed cannot be unpacked, mostly: so what is inside is changed, in most inputs, and then packed.
"""

from __future__ import annotations

import gzip
import lzma
from functools import cache
from typing import TYPE_CHECKING, Final

import cramjam

from pagewalk.sources import source
from tests.fuzz.mutate import mutated
from tests.fuzz.target import Target
from tests.memory.avmls import avml
from tests.memory.cores import Load, core, lime, qemu_state
from tests.memory.kdumps import Dump, flattened, written

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from pagewalk.memory import Memory

_PACKERS: Final = (lambda data: gzip.compress(data, 1), lambda data: lzma.compress(data, preset=0))
_BY_CHILD: Final = (lambda data: bytes(cramjam.zstd.compress(data)), lambda data: bytes(cramjam.lz4.compress(data)))
"""What is unpacked by a child, which takes its time to start."""


@cache
def _files() -> tuple[bytes, ...]:
    """What may be inside: two first, which were always there."""
    page = bytes(range(256)) * 16
    elf = core([Load(0x1000, page * 4)], qemu_state(cr3=0x1000, cr4=0x20))
    kdump = written(Dump(dict.fromkeys(range(1, 9), page)))
    more = (avml({0x1000: page * 2}), kdump, flattened(kdump), page * 2, gzip.compress(page))
    return elf, lime([(0x1000, page)]), *more


def _seeds() -> list[bytes]:
    files = [*_files()[:2], bytes(8 << 20)]
    packed = [pack(data) for data in files for pack in (gzip.compress, lzma.compress)]
    packed += [pack(files[0]) for pack in _BY_CHILD]
    return [*packed, packed[0] + packed[1], packed[2] + packed[2], packed[3] + bytes(8) + packed[3]]


def _hostile(seed: bytes, rng: random.Random, header: int) -> bytes:
    """A hostile file, packed, as one or as two; else a hostile packing."""
    if rng.random() < 0.3:
        return mutated(seed, rng, header)
    data = mutated(rng.choice(_files()), rng, rng.choice((4, 64)))
    pack = rng.choice(_BY_CHILD if rng.random() < 0.02 else _PACKERS)
    cut = rng.randrange(len(data) + 1) if rng.random() < 0.2 else len(data)
    return pack(data[:cut]) + (pack(data[cut:]) if cut < len(data) else b"")


def _open(path: Path) -> Memory:
    return source(path).memory


TARGET = Target(
    _seeds,
    _open,
    header=6,
    modules=(
        "pagewalk.memory.files.unpacked",
        "pagewalk.sources.opening",
        "pagewalk.sources.files",
        "pagewalk.sources.detect",
    ),
    mutate=_hostile,
    refusal="cannot be unpacked",
)
