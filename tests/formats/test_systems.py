"""Operating systems' layers: by version and configuration, in user windows, and what is no system's name."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from pagewalk.formats import FORMATS, Window, find_format, systems_of
from pagewalk.testing import check_format
from tests.formats.golden_files import golden, layers, row_names
from tests.reference.older import OLDER

if TYPE_CHECKING:
    from pathlib import Path

P, RW, US, A, D, G, NX = 1, 2, 4, 32, 64, 256, 1 << 63
TABLE = P | RW | US | A
HALF = 0xFFFF_8000_0000_0000
KERNELS = [
    f"linux-{major}.{minor}" for major, minors in ((3, (10, 19)), (4, (0, 4, 20)), (5, (0, 10, 19))) for minor in minors
]
KERNELS += ["linux", "linux-6.0", "linux-6.1", "linux-6.12", "linux-6.19", "linux-7.0", "linux-7.3"]


class TestGolden:
    """Each cell of the tables by version, both sides of each border, by the kernel's own headers; guests' entries."""

    @pytest.mark.parametrize(("name", "os"), layers(), ids=lambda one: one)
    def test_every_layer(self, name: str, os: str) -> None:
        check_format(find_format(name, os), golden=layers()[name, os])

    @pytest.mark.parametrize(("name", "os"), OLDER, ids=lambda one: one)
    def test_walks_agree(self, name: str, os: str) -> None:
        """Walk, sweep and the walker from the older headers, on random tables."""
        known = layers().get((name, os), ())
        check_format(find_format(name, os), golden=known, reference=OLDER[name, os], rounds=10)

    def test_rows_are_named(self) -> None:
        for (name, os, shift, entry), said in row_names().items():
            form = find_format(name, os)
            level = next(level for level in form.real_levels if level.shift == shift)
            assert level.decode(entry).row.name == said, f"{name}, {os}: {entry:#x}"

    @pytest.mark.parametrize(
        ("guest", "os"),
        [
            ("x86_64-5.10", "linux-5.10"),
            ("x86_64-6.1-", "linux-6.1"),
            ("x86_64-6.12", "linux-6.12,device_private=no"),
            ("x86_64-7.3", "linux-7.3"),
        ],
    )
    def test_guests_are_read_by_their_own_kernels(self, guest: str, os: str) -> None:
        entries = [one for one in golden("x86-64") if one.source.startswith(guest)]
        assert len(entries) >= 20
        form = find_format("x86-64", os)
        levels = {level.shift: level for level in form.real_levels}
        for one in entries:
            level = levels[one.shift]
            assert (level.kind(one.entry), level.frame(one.entry)) == (one.kind, one.frame or pw.NO_PADDR)


def swap(type_: int, offset: int) -> int:
    """x86-64's swap entry."""
    return type_ << 59 | (offset ^ (1 << 50) - 1) << 9 & (1 << 59) - 1


KFENCE = ~(0x101000 | P | RW | A | D | NX | G) & (1 << 64) - 1
"""A page that KFENCE took away: the entry without P, and the frame inverted with the rest."""
TRANSITION = 0x6053_3000 | 1 << 11 | 4 << 5
CASES = [  # os, raw entry, half, kind, row's name, frame (None: none)
    ("linux-5.10,device_private=no", swap(31, 0x1234), 0, "migration", "migration write", 0x1234000),
    ("linux-5.10,device_private=no", swap(29, 0x55), 0, "hwpoison", "hwpoison", 0x55000),
    ("linux-5.15", swap(28, 0x104), 0, "other", "device", None),
    ("linux-6.12,device_private=no", swap(27, 0x55), 0, "hwpoison", "hwpoison", 0x55000),
    ("linux-6.12,device_private=no", swap(30, 0x66), 0, "migration", "migration write", 0x66000),
    ("linux-6.6", swap(23, 0x88), 0, "hwpoison", "hwpoison", 0x88000),
    ("linux-6.6", swap(24, 0x99), 0, "migration", "migration read", 0x99000),
    ("linux-7.3", swap(31, 4), 0, "guard", "guard", None),
    ("linux-6.12", swap(31, 4), 0, "other", "marker", None),
    ("linux-6.18", KFENCE, 0, "swap", "swap", None),
    ("linux-6.18", KFENCE, 1, "other", "other", None),
    ("linux-3.10", 1 << 9 | 31 << 1, 1, "other", "other", None),
    ("linux", swap(0, 1), 1, "other", "other", None),
    ("none", TRANSITION, 0, "other", "other", None),
    ("none", TRANSITION, 1, "other", "other", None),
    ("windows", TRANSITION, 0, "other", "transition", 0x60533000),
    ("windows", TRANSITION, 1, "other", "transition", 0x60533000),
    ("windows", 4 << 5, 0, "other", "demand_zero", None),
    ("windows", 0x1234 << 32 | 4 << 5, 0, "swap", "page_file", None),
]


@pytest.mark.parametrize(("os", "raw", "half", "kind", "name", "frame"), CASES)
def test_not_present(tmp_path: Path, os: str, raw: int, half: int, kind: str, name: str, frame: int | None) -> None:
    """Listed, walked, and looked at by itself; the layer is said in full."""
    image = bytearray(8 * 4096)
    slots = ((0x1000, 256 * half, 0x2000), (0x2000, 0, 0x3000), (0x3000, 0, 0x4000))
    for table, slot, below in slots:
        struct.pack_into("<Q", image, table + 8 * slot, below | TABLE)
    struct.pack_into("<Q", image, 0x4008, raw)
    path = tmp_path / "image"
    path.write_bytes(image)
    tables, start = pw.open(path, root=0x1000, os=os), HALF * half
    (row,) = pw.mappings(tables, start, start + (1 << 21))
    entry = list(tables.steps(start + 4096))[-1]
    walked: list[pw.Kind] = []
    ops = pw.WalkOps(pte_entry=lambda entry, *_: walked.append(entry.kind) if entry.value else None)
    pw.walk_page_range_novma(tables, start, start + (1 << 21), ops)
    assert tables.format.system == os
    assert pw.Kind(int(row["kind"])).label == entry.kind.label == walked[0].label == kind
    assert entry.level.decode(raw).row.name == name
    assert int(row["paddr"]) == (pw.NO_PADDR if frame is None else frame)


class TestWindows:
    """The layer is of user windows: what the kernel's half holds that is not present is no swap."""

    @pytest.mark.parametrize(
        "name", [name for name in FORMATS if "linux" in systems_of(name) and len(find_format(name).windows) == 2]
    )
    def test_the_last_has_no_swap(self, name: str) -> None:
        form = find_format(name)
        user, kernel = (form.levels_of(window) for window in form.windows)
        assert [window.layered for window in form.windows] == [True, False]
        raw = user[-1].swap(0, 1)
        assert (user[-1].kind(raw), kernel[-1].kind(raw)) == (pw.Kind.SWAP, pw.Kind.OTHER)
        assert kernel[-1].kind(0) is pw.Kind.NONE
        shut = user[-1].without_rights(user[-1].page(0, 1))
        assert (user[-1].kind(shut), kernel[-1].kind(shut)) == (pw.Kind.PROT_NONE, pw.Kind.OTHER)

    @pytest.mark.parametrize("half", [0, 1])
    def test_bits_left_to_software(self, tmp_path: Path, half: int) -> None:
        """Linux 7.2, pgtable_types.h: bit 11 is _PAGE_SOFT_DIRTY to users, and _PAGE_KERNEL_4K in the kernel's half.

        Of a page alone, of many that differ (as arrays), and of a run that is alike.
        """
        image = bytearray(512 * 4096)
        for table, slot, below in ((0x1000, 256 * half, 0x2000), (0x2000, 0, 0x3000), (0x3000, 0, 0x4000)):
            struct.pack_into("<Q", image, table + 8 * slot, below | TABLE)
        bits = [0, 1 << 9, 1 << 10, 1 << 11, 1 << 58, 7 << 9]
        said = [0, pw.Flag.SPECIAL, pw.Flag.UFFD_WP, pw.Flag.SOFT_DIRTY, pw.Flag.SAVED_DIRTY]
        said.append(pw.Flag.SPECIAL | pw.Flag.UFFD_WP | pw.Flag.SOFT_DIRTY)
        for slot in range(512):
            raw = (slot << 12) | P | A | bits[slot % len(bits) if slot < 256 else 3]
            struct.pack_into("<Q", image, 0x4000 + 8 * slot, raw)
        (tmp_path / "image").write_bytes(image)
        tables, start = pw.open(tmp_path / "image", root=0x1000), HALF * half
        wanted = [int(0 if half else said[slot % len(bits) if slot < 256 else 3]) for slot in range(512)]
        software = int(pw.Flag.SPECIAL | pw.Flag.UFFD_WP | pw.Flag.SOFT_DIRTY | pw.Flag.SAVED_DIRTY)
        rows = pw.mappings(tables, start, start + (1 << 21), coalesce=False)
        assert [int(flags) & software for flags in rows["flags"]] == wanted
        entries = [list(tables.steps(start + (slot << 12)))[-1] for slot in range(512)]
        assert [int(entry.flags) & software for entry in entries] == wanted
        joined = pw.mappings(tables, start, start + (1 << 21))
        assert (len(joined) == 1) is bool(half)

    def test_levels_without_pages_are_shared(self) -> None:
        form = find_format("x86-64")
        user, kernel = (form.levels_of(window) for window in form.windows)
        assert user[0].codec is kernel[0].codec
        assert user[4].codec is not kernel[4].codec

    @pytest.mark.parametrize("os", ["none", "windows"])
    def test_others_hold_everywhere(self, os: str) -> None:
        assert all(window.layered for window in find_format("x86-64", os).windows)

    def test_a_window_of_ones_own(self) -> None:
        form = find_format("x86-64")
        assert form.levels_of(Window(HALF, 1 << 64))[-1].kind(swap(0, 1)) is pw.Kind.SWAP


class TestNames:
    @pytest.mark.parametrize("name", FORMATS)
    def test_every_kernel_on_every_architecture(self, name: str) -> None:
        for os in KERNELS if "linux" in systems_of(name) else ():
            assert find_format(name, os).system == os

    def test_what_is_not_said(self) -> None:
        """Yes: CONFIG_DEVICE_PRIVATE, and markers."""
        said = find_format("x86-64", "linux-6.1,device_private=yes,pte_marker=yes")
        assert said.hardware == find_format("x86-64", "linux-6.1").hardware
        assert said.hardware != find_format("x86-64", "linux-6.1,pte_marker=no").hardware

    @pytest.mark.parametrize(
        ("os", "says"),
        [
            ("linux-7.4", "unknown system 'linux-7.4': known are linux, linux-3.10 to linux-7.3, windows, none"),
            ("linux-3.9", "unknown system 'linux-3.9': known are linux, linux-3.10 to"),
            ("linux-6.20", "unknown system 'linux-6.20': .*take the nearest older one"),
            ("linux-6.1.2", "unknown system 'linux-6.1.2': known are"),
            ("linux-6", "unknown system 'linux-6': known are"),
            ("linux6.1", "unknown system 'linux6.1': known are"),
            ("", "unknown system '': known are"),
            ("window", "unknown system 'window': did you mean 'windows'?"),
            ("linux-6.1,device_privat=no", "linux-6.1 has no option 'device_privat': did you mean 'device_private'?"),
            ("linux-6.1,", "linux-6.1 has no option '': known are device_private, pte_marker, memory_failure, migr"),
            ("linux-6.1,device_private", "device_private is yes or no, not '': write device_private=yes or"),
            ("linux,device_private=maybe", "device_private is yes or no, not 'maybe'"),
            ("linux,migration=no,migration=no", "migration is given twice: give each option once"),
            ("linux-6.12,pte_marker=no", "linux-6.12 has the same entries whatever pte_marker is: leave it out"),
            ("linux-4.19,l1tf=no", "linux-4.19 has the same entries whatever l1tf is: leave it out"),
            ("linux-6.18,svrsw60t59b=yes", "linux-6.18 has the same entries whatever svrsw60t59b is: leave it out"),
            ("linux,svrsw60t59b=yes", "svrsw60t59b is of RISC-V alone, not of x86: leave it out"),
            ("linux-4.4,device_private=no", "linux-4.4 has the same entries whatever device_private is"),
            ("windows,x=yes", "windows takes no options, as in 'windows,x=yes': only Linux does"),
        ],
    )
    def test_wrong(self, os: str, says: str) -> None:
        for ask in (find_format, lambda _, os: pw.formats.from_registers({"cr3": 0x1000}, os)):
            with pytest.raises(pw.UnsupportedError, match=says.replace("?", "[?]")) as caught:
                ask("x86-64", os)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["arm64-4k", "riscv-sv39"])
    def test_an_option_of_another_architecture(self, name: str) -> None:
        with pytest.raises(pw.UnsupportedError, match=r"l1tf is of x86 alone, not of .*: leave it out"):
            find_format(name, "linux-4.14,l1tf=yes")

    def test_no_rows(self) -> None:
        with pytest.raises(
            pw.UnsupportedError, match="arm64-4k has no rows for the entries of 'windows': known are linux, none"
        ):
            find_format("arm64-4k", "windows")
        with pytest.raises(pw.UnsupportedError, match="satp has no rows for the entries of 'windows'"):
            pw.formats.from_registers({"satp": 8 << 60 | 5}, "windows")
