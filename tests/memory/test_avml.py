"""AVML images of version 2: read as volatility3 reads them, and what is hostile about them."""

from __future__ import annotations

import pickle
import random
import struct
from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from pagewalk.memory import blocks_of, extents_of
from pagewalk.memory.dumps.avml import AvmlImage
from pagewalk.testing import check_memory
from tests.conftest import skip_or_fail
from tests.memory.avmls import BLOCK, STREAM, avml, block

if TYPE_CHECKING:
    from pathlib import Path

K, M = 1 << 10, 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    """Words that can be packed, and some that cannot."""
    rng = random.Random(seed)
    pages = (rng.randbytes(4096) if rng.random() < 0.3 else rng.randbytes(16) * 256 for _ in range(-(-size // 4096)))
    return b"".join(pages)[:size]


LOW = noise(0x9E000)
HIGH = noise(3 * M) + bytes(5 * BLOCK) + noise(20 * M, 2)
"""From 1 MiB on: three blocks in the middle are zeros."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("avml") / "image"
    path.write_bytes(avml({0x1000: LOW, M: HIGH}))
    return path


def test_volatility_reads_it_so_too(image: Path) -> None:
    """The independent reader first: where volatility3 has memory, both have the same."""
    from volatility3.framework import contexts
    from volatility3.framework.layers import avml as layers
    from volatility3.framework.layers import physical

    if not layers.HAS_SNAPPY:
        skip_or_fail("volatility3 finds no libsnappy.so.1")
    context = contexts.Context()
    context.config["base.location"] = image.as_uri()
    context.add_layer(physical.FileLayer(context, "base", "base"))
    context.config["avml.base_layer"] = "base"
    other = layers.AVMLLayer(context, "avml", "avml")
    memory = AvmlImage(image)
    for start, data in ((0x1000, LOW), (M, HIGH)):
        for at in range(0, len(data) - 4096, 37 * 4096):
            if other.is_valid(start + at, 4096):
                assert other.read(start + at, 4096) == memory.read(start + at, 4096) == data[at : at + 4096]


class TestWhole:
    def test_all_of_it(self, image: Path) -> None:
        memory = AvmlImage(image)
        assert extents_of(memory).tolist() == [[0x1000, 0x1000 + len(LOW)], [M, M + len(HIGH)]]
        found = {paddr: bytes(data) for paddr, data in blocks_of(memory)}
        assert b"".join(data for paddr, data in found.items() if paddr < M) == LOW
        assert b"".join(data for paddr, data in found.items() if paddr >= M) == HIGH

    def test_zeros_that_were_left_out(self, image: Path) -> None:
        assert image.stat().st_size < len(HIGH) - 4 * BLOCK
        memory = AvmlImage(image)
        assert memory.read(M + BLOCK + 5, 3 * BLOCK) == bytes(3 * BLOCK)

    def test_a_hole_is_none_of_them(self, image: Path) -> None:
        memory = AvmlImage(image)
        for paddr in (0, 0x1000 + len(LOW), M - 8, M + len(HIGH) - 4, 1 << 40, -8, 1 << 70):
            with pytest.raises(pw.MemoryReadError, match=f"physical {paddr:#x}"):
                memory.read(paddr, 8)

    def test_the_kit(self, image: Path) -> None:
        check_memory(AvmlImage(image), M, len(HIGH), writable=False, close=True)

    def test_what_it_is(self, image: Path) -> None:
        source = pw.source(image)
        assert (source.type, source.vmcoreinfo, source.cpus) == ("avml", {}, ())
        assert "no registers" in source.missing[0]
        assert pickle.loads(pickle.dumps(source.memory)).read(M, 99) == HIGH[:99]

    def test_blocks_in_any_order(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(avml({8 * M: b"b" * M, M: b"a" * M}))
        memory = AvmlImage(path)
        assert extents_of(memory).tolist() == [[M, 2 * M], [8 * M, 9 * M]]
        assert memory.read(8 * M, M) == b"b" * M

    def test_a_guest(self, guest, tmp_path: Path) -> None:
        """The same RAM gives the same listing. Its ends are not zeros, and its last block is not full."""
        data = bytearray(guest.path.read_bytes()[:-4096])
        data[0] = data[-1] = 1
        path, ram = tmp_path / "image", tmp_path / "ram"
        ram.write_bytes(data)
        path.write_bytes(avml({0: bytes(data)}))
        raw, packed = (pw.mappings(pw.open(one, root=guest.root, os="linux")) for one in (ram, path))
        assert raw.tobytes() == packed.tobytes()


class TestCutOff:
    @pytest.mark.parametrize("left", [33, 100, 70_000, M])
    def test_in_a_block(self, tmp_path: Path, left: int) -> None:
        data = avml({M: noise(4 * M)})
        path = tmp_path / "image"
        path.write_bytes(data[:left])
        memory = AvmlImage(path)
        assert "cut off" in memory.missing[0]
        with pytest.raises(pw.PageNotInDump, match="cut off"):
            memory.read(5 * M - 8, 8)
        end = extents_of(memory)[-1, 1] if len(extents_of(memory)) else M
        assert memory.read(M, int(end) - M) == noise(4 * M)[: int(end) - M]

    def test_between_blocks(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(avml({M: noise(M)}) + b"AVML")
        assert "cut off" in AvmlImage(path).missing[0]

    def test_while_it_is_open(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(avml({M: noise(M)}))
        memory = AvmlImage(path)
        with path.open("r+b") as file:
            file.truncate(4096)
        with pytest.raises(pw.MemoryReadError, match="was cut off while it was open"):
            memory.read(M, 8)


def chunk(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(3, "little") + data


class TestHostile:
    @pytest.mark.parametrize(
        "stream",
        [
            chunk(0, b"crc4\xff\xff\xff\xff\xff"),
            chunk(0, b"crc4\0"),
            chunk(0, b""),
            chunk(1, b"crc"),
            chunk(1, b"crc4" + bytes(65537)),
            chunk(2, b"what"),
            chunk(0x7F, b"what"),
        ],
    )
    def test_chunks_that_are_none(self, tmp_path: Path, stream: bytes) -> None:
        path = tmp_path / "image"
        path.write_bytes(block(M, STREAM + stream, 4096))
        with pytest.raises(pw.ImageFormatError, match=r"no chunk of a Snappy stream is at 0x2a"):
            AvmlImage(path)

    def test_a_chunk_over_the_end_of_its_block(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(block(M, STREAM + chunk(1, b"crc4" + bytes(8192)), 4096))
        with pytest.raises(pw.ImageFormatError, match="no chunk"):
            AvmlImage(path)

    def test_exabytes(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(block(0, STREAM, 1 << 64)[:-8])
        memory = AvmlImage(path)
        assert extents_of(memory).tolist() == []
        with pytest.raises(pw.PageNotInDump):
            memory.read(1 << 60, 8)

    def test_a_damaged_chunk(self, tmp_path: Path) -> None:
        """Its checksum is looked at when it is unpacked."""
        data = bytearray(avml({M: noise(M)}))
        data[200] ^= 1
        path = tmp_path / "image"
        path.write_bytes(data)
        memory = AvmlImage(path)
        with pytest.raises(pw.MemoryReadError, match="it is damaged in the image"):
            memory.read(M, 8)
        assert memory.read(M + 64 * K, 64 * K) == noise(M)[64 * K : 128 * K]

    @pytest.mark.parametrize(
        ("at", "value", "why"),
        [
            (4, 1, "no header"),
            (8, 1 << 40, "no header"),
            (24, 1, "no header"),
            (-8, 5, "is not of 0x5 bytes"),
        ],
    )
    def test_headers(self, tmp_path: Path, at: int, value: int, why: str) -> None:
        data = bytearray(avml({M: noise(M)}))
        at %= len(data)
        data[at : at + 8] = struct.pack("<Q", value)
        path = tmp_path / "image"
        path.write_bytes(data)
        with pytest.raises(pw.ImageFormatError, match=why):
            AvmlImage(path)

    def test_blocks_that_overlap(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(avml({M: noise(M)}) + avml({M + 4096: noise(4096)}))
        with pytest.raises(pw.ImageFormatError, match="overlap"):
            AvmlImage(path)
