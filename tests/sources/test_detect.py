"""What a file is, by its content: what is opened, and what is named and never read as raw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from pagewalk.sources import source
from pagewalk.sources.detect import TYPES, detect
from tests.memory.cores import Load, core, lime

if TYPE_CHECKING:
    from pathlib import Path

NAMED = [type_ for type_ in TYPES if not type_.load and not type_.packing]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "name.elf"  # names mean nothing


@pytest.mark.parametrize(
    ("data", "name"),
    [(core([Load(0, b"1")]), "elf"), (lime([(0, b"1")]), "lime"), (bytes(4096), "raw"), (b"\x7fEL", "raw")],
)
def test_opened(data: bytes, name: str, path: Path) -> None:
    path.write_bytes(data)
    with source(path) as opened:
        assert opened.type == detect(path).name == name


@pytest.mark.parametrize("type_", NAMED, ids=lambda type_: f"{type_.name}-{type_.magic.hex()}")
def test_named_and_refused(type_: object, path: Path) -> None:
    assert type_ in TYPES
    for one in NAMED:
        if one is type_:
            path.write_bytes(bytes(one.offset) + one.magic + bytes(4096))
            with pytest.raises(pw.UnsupportedError, match=f"^{path}: {one.what} is not read: ") as caught:
                source(path)
            assert len(str(caught.value)) < 250
            assert source(path, source_type="raw").type == "raw"


def test_a_guess_can_be_overruled(path: Path) -> None:
    path.write_bytes(core([Load(0x1000, b"x" * 4096)]))
    assert source(path, source_type="raw").memory.read(0, 4) == b"\x7fELF"
    assert source(path, segments=[(0, 4, 8)]).type == "raw"
    with pytest.raises(pw.ImageFormatError, match="no LiME image"):
        source(path, source_type="lime")
    once = "no source type is called 'lemi': there are elf, [^:]*lz4, vmware, windows, savevm, "
    with pytest.raises(pw.UnsupportedError, match=once):
        source(path, source_type="lemi")
    with pytest.raises(ValueError, match="an ELF core says itself where its memory lies"):
        source(path, base=4096)
