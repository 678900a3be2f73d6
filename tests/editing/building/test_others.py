"""From an equivalent layout, the same bits as Zephyr's and microkit's builders make: ``others.md`` says how."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path
from typing import Any

import pytest

import pagewalk as pw
from pagewalk.editing import Layout, Region, build
from pagewalk.editing.building.proof import prove

HERE = Path(__file__).parent
RESERVED = 0b110
"""Bits of PAE's root that Zephyr sets, and the manual reserves."""


def theirs(name: str) -> bytes:
    return lzma.decompress((HERE / f"{name}.bin.xz").read_bytes())


@pytest.mark.parametrize("name", ["zephyr/x86-64", "zephyr/ia32", "microkit/arm64"])
def test_bit_for_bit(name: str) -> None:
    built = build(HERE / f"{name}.toml")
    prove(built)
    assert built.data == theirs(name)


def test_bit_for_bit_but_for_what_is_reserved() -> None:
    built, wanted = build(HERE / "zephyr/pae.toml"), theirs("zephyr/pae")
    prove(built)
    assert built.data[:-32] == wanted[:-32]
    root = struct.unpack("<4Q", wanted[-32:])
    assert [entry & RESERVED for entry in root] == [RESERVED, RESERVED, 0, RESERVED]
    assert struct.unpack("<4Q", built.data[-32:]) == tuple(entry & ~RESERVED for entry in root)
    with pytest.raises(pw.ImageFormatError, match="change what the entries of tables say"):
        build(Layout(**vars_of(built.layout) | {"set": RESERVED}))


def vars_of(layout: Layout) -> dict[str, Any]:
    """What a layout was made of."""
    return {name: getattr(layout, name) for name in ("format", "regions", "reserves", "base", "order", "root")}


def test_a_large_page_in_the_place_of_a_table_is_refused() -> None:
    regions = [Region("small", 0x8000_1000, 0x1000, "rwx-"), Region("large", 0x8000_0000, 0x40_0000, "rwx-")]
    with pytest.raises(pw.ImageFormatError, match=r"region 'large' .* overlaps region 'small', \[0x80001000, 0x80002000\)"):  # fmt: skip  # noqa: E501
        Layout(format="ia32", regions=regions)
