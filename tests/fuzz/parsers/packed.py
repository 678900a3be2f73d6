"""Compressed files, opened as a user's would be: bombs among them."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import cramjam

from pagewalk.sources import source
from tests.fuzz.target import Target
from tests.memory.cores import Load, core, lime, qemu_state

if TYPE_CHECKING:
    from pathlib import Path

    from pagewalk.memory import Memory


def _seeds() -> list[bytes]:
    page = bytes(range(256)) * 16
    files = [core([Load(0x1000, page * 4)], qemu_state(cr3=0x1000, cr4=0x20)), lime([(0x1000, page)]), bytes(8 << 20)]
    packed = [pack(data) for data in files for pack in (gzip.compress, lzma.compress)]
    packed += [bytes(cramjam.zstd.compress(files[0])), bytes(cramjam.lz4.compress(files[0]))]
    return [*packed, packed[0] + packed[1], packed[2] + packed[2], packed[3] + bytes(8) + packed[3]]


def _open(path: Path) -> Memory:
    return source(path).memory


TARGET = Target(
    _seeds,
    _open,
    header=6,
    modules=("pagewalk.memory.unpacked", "pagewalk.sources.opening", "pagewalk.sources.detect"),
)
