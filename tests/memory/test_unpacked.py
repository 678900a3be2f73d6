"""Compressed files: what is inside is opened, nothing is left behind, and nothing fills the disk."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import pickle
import tempfile
from typing import TYPE_CHECKING

import cramjam
import numpy as np
import pytest

import pagewalk as pw
from pagewalk.memory.files import unpacked as module
from pagewalk.memory.files.unpacked import unpacked
from pagewalk.sources import source
from tests.memory.cores import Load, core, lime, qemu_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.guests import Guest

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: bytes(cramjam.zstd.compress(data)),
    "lz4": lambda data: bytes(cramjam.lz4.compress(data)),
}
MIB = 1 << 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; nothing has been left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("packing", list(PACK))
class TestAll:
    def test_the_listing(self, packing: str, guest: Guest, tmp_path: Path) -> None:
        state = qemu_state(cr3=guest.registers["cr3"], cr4=guest.registers["cr4"])
        path = tmp_path / "vmcore"
        path.write_bytes(PACK[packing](core([Load(0, guest.ram)], state)))
        with source(path) as opened:
            assert (opened.type, opened.packing) == ("elf", packing)
            assert repr(opened).startswith(f"<Source {packing} of elf ")
            np.testing.assert_array_equal(pw.mappings(opened.tables()), pw.mappings(guest.tables()))
            with pytest.raises(TypeError, match="only a descriptor here"):
                pickle.dumps(opened.memory)

    def test_several_parts_and_holes(self, packing: str, tmp_path: Path) -> None:
        data = os.urandom(MIB) + bytes(16 * MIB) + b"end" + bytes(5000)
        path = tmp_path / "packed"
        path.write_bytes(PACK[packing](data) * 2)
        told: list[tuple[int, int]] = []
        with unpacked(path, packing, progress=lambda done, stored: told.append((done, stored))) as inside:
            assert inside.read_bytes() == data * 2
            assert inside.stat().st_blocks * 512 < 4 * MIB
        assert told[-1][0] == 2 * len(data)
        assert told[-1][1] < 3 * MIB

    @pytest.mark.parametrize("cut", [0.5, 0.99])
    def test_cut_off(self, packing: str, cut: float, tmp_path: Path) -> None:
        data = PACK[packing](os.urandom(MIB))
        path = tmp_path / "packed"
        path.write_bytes(data[: int(len(data) * cut)])
        with pytest.raises(pw.ImageFormatError, match=f"^{path}: it cannot be unpacked, being damaged or cut off"):
            source(path)

    def test_a_bomb(self, packing: str, tmp_path: Path) -> None:
        path = tmp_path / "bomb"
        path.write_bytes(PACK[packing](bytes(32 * MIB)))
        with (
            pytest.raises(pw.ImageFormatError, match="more than 0x1000000 bytes when it is unpacked"),
            unpacked(path, packing, most=16 * MIB),
        ):
            pass

    def test_a_full_disk(self, packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Refused while there is still room for others."""
        monkeypatch.setattr(module, "_SPARE", 1 << 62)
        path = tmp_path / "packed"
        path.write_bytes(PACK[packing](os.urandom(MIB)))
        with pytest.raises(OSError, match="TMPDIR") as caught:
            source(path)
        assert caught.value.errno == errno.ENOSPC

    def test_interrupted(self, packing: str, tmp_path: Path) -> None:
        path = tmp_path / "packed"
        path.write_bytes(PACK[packing](os.urandom(8 * MIB)))

        def interrupt(done: int, stored: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            source(path, progress=interrupt)

    def test_a_raw_image_with_a_base(self, packing: str, tmp_path: Path) -> None:
        path = tmp_path / "packed"
        path.write_bytes(PACK[packing](b"abcd" * 4096))
        assert source(path, base=0x4000).memory.read(0x4000, 4) == b"abcd"
        assert source(path, segments=[(0x100, 2, 8)]).memory.read(0x100, 2) == b"cd"
        assert source(path, source_type="raw").packing == ""

    def test_what_is_refused(self, packing: str, tmp_path: Path) -> None:
        path = tmp_path / "packed"
        path.write_bytes(PACK[packing](PACK["gz"](b"1")))
        with pytest.raises(pw.UnsupportedError, match="with a gzip file in it: unpack it first"):
            source(path)
        with pytest.raises(pw.UnsupportedError, match="is not written: unpack it first"):
            source(path, writable=True)
        path.write_bytes(PACK[packing](lime([(0, b"a")])[:20]))
        with pytest.raises(pw.ImageFormatError, match=f"^{path} unpacked: there is no memory in it"):
            source(path)


def test_without_cramjam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    path = tmp_path / "packed"
    path.write_bytes(PACK["zst"](b"1"))
    with pytest.raises(pw.UnsupportedError, match=r"install pagewalk\[snappy\], or unpack it yourself"):
        source(path)


def test_a_window_that_takes_too_much_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    compressor = lzma.LZMACompressor(filters=filters)
    header = compressor.compress(b"1") + compressor.flush()
    path = tmp_path / "packed"
    path.write_bytes(header)
    with pytest.raises(pw.ImageFormatError, match="Memory usage limit"):
        source(path)
