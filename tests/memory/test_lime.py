"""LiME images, and AVML's without compression: read first by volatility3, then by pagewalk."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from volatility3.framework import contexts
from volatility3.framework.layers import lime as their
from volatility3.framework.layers import physical

import pagewalk as pw
from pagewalk.memory import extents_of
from pagewalk.memory.dumps.lime import LimeImage
from pagewalk.sources import source
from pagewalk.testing import check_memory
from tests.memory.cores import lime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.guests import Guest

M = 1 << 20


@pytest.fixture(scope="module")
def image(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's memory in three runs, which touch."""
    path: Path = tmp_path_factory.mktemp("lime") / "image"
    ram = guest.ram
    path.write_bytes(lime([(0, ram[: 3 * M]), (3 * M, ram[3 * M : 50 * M]), (50 * M, ram[50 * M :])]))
    return path


def test_an_independent_reader(image: Path, guest: Guest) -> None:
    context = contexts.Context()
    context.config["file.location"] = image.as_uri()
    context.add_layer(physical.FileLayer(context, "file", "file"))
    context.config["lime.base_layer"] = "file"
    layer = their.LimeLayer(context, "lime", "lime")
    memory = LimeImage(image)
    for paddr in (0, 3 * M - 4096, 3 * M, 50 * M - 4096, 50 * M, len(guest.ram) - 4096):
        assert layer.read(paddr, 4096) == guest.ram[paddr : paddr + 4096] == memory.read(paddr, 4096)


def test_the_listing(image: Path, guest: Guest) -> None:
    with source(image) as opened:
        assert opened.type == "lime"
        tables = opened.tables(root=guest.root)
        for coalesce in (True, False):
            ours, raws = (pw.mappings(one, coalesce=coalesce) for one in (tables, guest.tables()))
            np.testing.assert_array_equal(ours, raws)


def test_in_place(image: Path, guest: Guest) -> None:
    memory = LimeImage(image)
    assert extents_of(memory).tolist() == [[0, len(guest.ram)]]
    view = memory.view(0x1000, 4096)
    assert view is not None
    assert view.obj is memory._map
    check_memory(memory, 0, len(guest.ram))


def test_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(lime([(0x1000, b"a" * 4096), (0x8000, b"b" * 4096)])[:-1000])
    memory = LimeImage(path)
    assert memory.read(0x8000, 3096) == b"b" * 3096
    with pytest.raises(pw.PageNotInDump, match="cut off"):
        memory.read(0x8000, 4096)
    assert "the file is cut off: of the memory from 0x8c18 on 0x3e8 bytes are beyond" in memory.missing[-1]


def test_runs_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(lime([(0x8000, b"b" * 4096), (0x1000, b"a" * 4096), (0x1800, b"c" * 4096)]))
    memory = LimeImage(path)
    assert memory.read(0x1000, 0x1800) == b"a" * 4096 + b"c" * 2048
    assert "more than once" in memory.missing[-1]


def test_something_behind(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(lime([(0x1000, b"a" * 4096)]) + bytes(64))
    memory = LimeImage(path)
    assert memory.extent == "[0x1000, 0x2000)"
    assert "what follows from 0x1020 of the file on is no LiME header" in memory.missing[-1]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"something else" * 10, "does not begin with a header"),
        (struct.pack("<IIQQQ", 0x4C69_4D45, 2, 0, 9, 0), "of version 2 at 0x0"),
        (struct.pack("<IIQQQ", 0x4C69_4D45, 1, 9, 0, 0), "from 0x9 to 0x0"),
        (struct.pack("<IIQQQ", 0x4C69_4D45, 1, 0, 9, 0), "no memory in it: the file is cut off"),
        (lime([(0, b"a")])[:20], "no memory in it"),
    ],
)
def test_refused(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(data)
    with pytest.raises(pw.ImageFormatError, match=says) as caught:
        LimeImage(path)
    assert str(caught.value).startswith(str(path))
