"""A guest's tables as a layout, and built again: every page translates alike, in all formats that are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.editing import Layout, Region, build
from pagewalk.editing.building.back import layout_of, rights_at
from pagewalk.editing.building.proof import prove
from tests.guests import FORMATS, unpack
from tests.kept import KEPT, kept

STATE = np.uint32(pw.Flag.ACCESSED | pw.Flag.DIRTY | pw.Flag.GLOBAL)


@pytest.fixture(scope="module", params=[*FORMATS, *KEPT])
def tables(request, tmp_path_factory) -> pw.PageTables:
    if request.param in KEPT:
        return kept(request.param).tables()
    guest = unpack(request.param, tmp_path_factory.mktemp("guest"))
    return pw.open(guest.path, registers=guest.registers, base=guest.truth["ram_base"])


def test_every_page_translates_alike(tables, tmp_path) -> None:
    path = tmp_path / "layout.toml"
    path.write_text(layout_of(tables, base=1 << 20).text())
    built = build(path)
    assert prove(built) > 0
    rows = pw.mappings(tables, coalesce=False, hardware=True)
    again = pw.mappings(built.tables(), coalesce=False)
    assert len(rows) > 300
    assert rows["size"].sum() == again["size"].sum()
    for offset in (np.zeros(len(rows), np.uint64), rows["size"] - np.uint64(1)):
        paddrs, there = pw.translate(built.tables(), rows["vaddr"] + offset)
        assert there.all()
        assert (paddrs == rows["paddr"] + offset).all()
    assert (rights_at(tables, rows["vaddr"], built.layout.format) == rights_at(built.tables(), rows["vaddr"], built.layout.format)).all()  # fmt: skip  # noqa: E501
    same = again[np.searchsorted(again["vaddr"], rows["vaddr"], side="right") - 1]
    for name in ("memory", "pkey"):
        assert (same[name] == rows[name]).all()
    sayable = np.uint32(int(np.bitwise_or.reduce(again["flags"]))) & STATE
    assert ((same["flags"] ^ rows["flags"]) & sayable == 0).all()
    assert ((same["page_size"] <= rows["page_size"]) | (same["page_size"] == built.layout.format.page_size)).all()


def test_what_repeats_and_what_follows_are_regions_of_their_own() -> None:
    regions = [
        Region("1", 0x1000, 0x3000, "rw-u", paddr=0x1000_0000, largest=0x1000),
        Region("2", 0x4000, 0x4000, "rw-u", paddr=0x1000_2000, largest=0x1000, repeat=True),
        Region("3", 0x20_0000, 0x20_0000, "r-xu", paddr=0x4020_0000, largest=0x20_0000, state=("global",)),
    ]
    layout = Layout(format="x86-64", base=1 << 20, regions=regions)
    back = layout_of(build(layout).tables(), base=1 << 20)
    assert build(back).data == build(layout).data


def test_windows_of_another_width() -> None:
    layout = Layout(format="arm64-4k", bits=(39, 42), regions=[Region("1", 0x1000, 0x1000, "rw-u")])
    assert layout_of(build(layout).tables()).bits == (39, 48)
    both = Layout(format="arm64-4k", bits=(39, 42), regions=[*layout.regions, Region("2", 2**64 - 4096, 4096, "rw--", paddr=0)])  # fmt: skip  # noqa: E501
    assert layout_of(build(both).tables()).bits == (39, 42)


def test_what_a_layout_cannot_say() -> None:
    form = pw.find_format("x86-64", encryption_bit=51)
    memory = pw.Ram(4096)
    with pytest.raises(pw.UnsupportedError, match="an encryption bit, which a layout cannot say"):
        layout_of(pw.PageTables(memory, 0, form))
    unknown = pw.find_format("x86-64")
    with pytest.raises(pw.UnsupportedError, match="no layout is of the format mine"):
        layout_of(pw.PageTables(memory, 0, replace(unknown, name="mine")))
