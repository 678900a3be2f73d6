"""``with pw.open(...)``: the image goes at the end, and what is used afterwards says so."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.memory import Closable
from pagewalk.testing import check_memory
from tests.world import M, World

if TYPE_CHECKING:
    from pathlib import Path

BASE = 0x4000_0000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image of some tables."""
    world = World(ram=1 * M)
    world.map(BASE, 64 << 10)
    path = tmp_path / "guest.ram"
    path.write_bytes(world.memory.read(0, 1 * M))
    return path


def test_with(path: Path) -> None:
    with pw.open(path, root=0) as tables:
        assert isinstance(tables.memory, Closable)
        assert tables.translate(BASE).paddr is not None
    for ask in (
        lambda: tables.translate(BASE),
        lambda: list(tables.steps(BASE)),
        lambda: tables.read(BASE, 8),
        lambda: tables.root_table,
        lambda: pw.translate(tables, [BASE]),
        lambda: pw.mappings(tables),
        lambda: pw.holes(tables, findings=[]),
        lambda: pw.walk_page_range_novma(tables, BASE, BASE + 4096, pw.WalkOps()),
        lambda: tables.memory.read(0, 8),
    ):
        with pytest.raises(pw.MemoryReadError, match=r"guest\.ram' was closed: open it again") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert repr(tables.memory) == "<RawImage guest.ram closed>"
    tables.close()


def test_it_is_closed_where_the_body_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), pw.open(path, root=0) as tables:
        _ = 1 // 0
    with pytest.raises(pw.MemoryReadError, match="was closed"):
        tables.translate(BASE)


def test_nobody_looks_at_it_then(path: Path) -> None:
    image = pw.RawImage(path)
    image.close()
    assert image._map.closed


def test_who_looks_at_it_goes_on(path: Path) -> None:
    """Bytes in place stay where they are: closing is no way to crash, nor a ValueError."""
    tables = pw.open(path, root=0)
    *_, entry = tables.steps(BASE)
    words, value = np.frombuffer(tables.memory.segments[0].data, "<u8"), entry.value  # type: ignore[attr-defined]
    tables.close()
    tables.close()
    assert entry.value == value
    assert words.any()


def test_a_write(path: Path) -> None:
    tables = pw.open(path, root=0, writable=True)
    tables.close()
    with pytest.raises(pw.MemoryWriteError, match="was closed"):
        tables.memory.write(0, b"x")  # type: ignore[attr-defined]


def test_a_closed_image_is_not_pickled(path: Path) -> None:
    image = pw.RawImage(path)
    image.close()
    with pytest.raises(TypeError, match="it is closed"):
        copy.copy(image)


@pytest.mark.parametrize("writable", [True, False])
def test_the_kit(path: Path, writable: bool) -> None:
    check_memory(pw.RawImage(path, writable=writable), 0, 1 * M, close=True)
    check_memory(pw.CachedMemory(pw.RawImage(path, writable=writable)), 0, 1 * M, close=True)
    with pytest.raises(AssertionError, match="has a close method"):
        check_memory(pw.Ram(4096), 0, 4096, close=True)


def test_what_cannot_be_closed_stays_open() -> None:
    with World(ram=1 * M).tables as tables:
        pass
    assert tables.root_table
