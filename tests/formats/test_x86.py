"""x86-64 entries as real kernels wrote them, and what each one says.

``GUEST`` is read by eye: one raw entry a row, as found in guests with Debian's kernels 6.12 and 7.3. Columns: the raw
value, the level it was found at, the kind, the frame (``-`` for none), and the flags in the letters of ``LETTERS``.
"""

from __future__ import annotations

import pytest

import pagewalk as pw
from pagewalk.formats import NO_PADDR, Flag, Kind, Linux, PagingFormat
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.formats.os.linux_x86 import linux_x86
from pagewalk.tables import Table

LETTERS = dict(
    zip(
        "rwxugadsoqeD",
        [
            Flag.READ,
            Flag.WRITE,
            Flag.EXEC,
            Flag.USER,
            Flag.GLOBAL,
            Flag.ACCESSED,
            Flag.DIRTY,
            Flag.SPECIAL,
            Flag.SOFT_DIRTY,
            Flag.UFFD_WP,
            Flag.EXCLUSIVE,
            Flag.SAVED_DIRTY,
        ],
        strict=True,
    )
)

GUEST = """
# raw              level  kind       frame       flags
0000000000000000   PTE    none       -           -
0000000000000060   PTE    none       -           -
fffffffffffff600   PTE    guard      -           -
fffffffffffffc00   PTE    uffd_wp    -           -
fffffffffffffa00   PTE    hwpoison   -           -
07fffffffffffc0a   PTE    swap       -           oe
c7ffffffffa09000   PTE    hwpoison   2fb7000     -
040ffffffd021920   PTE    prot_none  2fde000     aoD
800000000224c225   PTE    present    224c000     ruas
80000000060008c7   PMD    present    6000000     rwudo
84000000060008a5   PMD    present    6000000     ruaoD
84000000400008e7   PUD    present    40000000    rwuadoD
0000000004b24067   PGD    table      4b24000     rwxu
0000000004b25067   PUD    table      4b25000     rwxu
0000000004b26067   PMD    table      4b26000     rwxu
"""


def rows() -> list[list[str]]:
    return [line.split() for line in GUEST.splitlines() if line and not line.startswith("#")]


def entry_of(form: PagingFormat, raw: int, level: str) -> pw.Entry:
    """The raw value as an entry of a table of that level."""
    ram = pw.Ram(4096)
    ram.write(0, raw.to_bytes(8, "little"))
    slots = ram.segments[0].data.cast("Q")
    at = next(one for one in form.levels if one.name == level)
    return pw.Entry(Table(pw.PageTables(ram, 0, form), 0, at, slots), 0)


@pytest.mark.parametrize("name", ["x86-64", "x86-64-la57"])
class TestEntriesOfRealKernels:
    """Raw values from guests' memory; the guest's own pagemap said what they were."""

    @pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[1]}-{row[0]}")
    def test_decodes(self, name: str, row: list[str]) -> None:
        raw, level, kind, frame, letters = row
        entry = entry_of(pw.find_format(name), int(raw, 16), level)
        if kind == "table":
            assert entry.is_table
            assert not entry.is_leaf
        else:
            assert entry.kind.label == kind
            assert not entry.is_table
        assert entry.target == (None if frame == "-" else int(frame, 16))
        assert entry.flags == sum(LETTERS[letter] for letter in letters.strip("-"))
        assert entry.is_none is (kind == "none")

    def test_guard_markers_are_encoded_as_the_kernel_does(self, name: str) -> None:
        assert pw.find_format(name).last.marked("guard") == 0xFFFF_FFFF_FFFF_F600

    def test_swap_slot(self, name: str) -> None:
        assert pw.find_format(name).last.swap_slot(0x07FF_FFFF_FFFF_FC0A) == (0, 1)


class TestSwapTypes:
    """The numbers depend on the kernel's configuration: hwpoison is 27 on Debian's 6.12, 24 on 7.3."""

    def test_without_device_private(self) -> None:
        older = x86_64(4, layer=linux_x86(4, Linux.running((6, 12), device_private=False)))
        raw = older.last.swap(27, 0x2FB7)
        assert older.kind(raw) == Kind.HWPOISON
        assert older.frame(raw, older.levels[4]) == 0x2FB7000
        assert pw.find_format("x86-64").kind(raw) == Kind.MIGRATION
        assert older.kind(0xC7FF_FFFF_FFA0_9000) == Kind.SWAP

    @pytest.mark.parametrize(
        ("type_", "kind"),
        [
            (0, Kind.SWAP),
            (23, Kind.SWAP),
            (24, Kind.HWPOISON),
            (25, Kind.MIGRATION),
            (27, Kind.MIGRATION),
            (28, Kind.OTHER),
            (30, Kind.OTHER),
        ],
    )
    def test_default(self, type_: int, kind: Kind) -> None:
        form = pw.find_format("x86-64")
        assert form.kind(form.last.swap(type_, 0x1234)) == kind

    @pytest.mark.parametrize(
        ("offset", "kind"),
        [
            (1, Kind.UFFD_WP),
            (2, Kind.HWPOISON),
            (4, Kind.GUARD),
            (5, Kind.GUARD),
            (8, Kind.OTHER),
        ],
    )
    def test_markers(self, offset: int, kind: Kind) -> None:
        form = pw.find_format("x86-64")
        assert form.kind(form.last.swap(31, offset)) == kind
        assert form.frame(form.last.swap(31, offset), form.levels[4]) == NO_PADDR


class TestReservedBits:
    """Intel SDM vol. 3A, tables 5-14 to 5-20, with MAXPHYADDR 46: bits 51:46 always; more where a row says so."""

    WIDE = 0x000F_C000_0000_0000

    @pytest.mark.parametrize(
        ("levels", "level", "raw", "reserved"),
        [
            (5, "PGD", 0x67 | 1 << 7, 1 << 7),  # table 5-14: bit 7 of a PML5E
            (5, "P4D", 0x67 | 1 << 7, 1 << 7),  # table 5-15: bit 7 of a PML4E
            (4, "PGD", 0x67 | 1 << 7, 1 << 7),
            (4, "PUD", 0xE7 | 1 << 13, 1 << 13),  # table 5-16: bits 29:13 of a 1-GByte page
            (4, "PUD", 0xE7 | 1 << 29, 1 << 29),
            (4, "PUD", 0xE7 | 1 << 12, 0),  # PAT
            (4, "PUD", 0xE7 | 1 << 30, 0),
            (4, "PUD", 0x67 | 1 << 29, 0),  # table 5-17: a table may lie anywhere
            (4, "PMD", 0xE7 | 1 << 13, 1 << 13),  # table 5-18: bits 20:13 of a 2-MByte page
            (4, "PMD", 0xE7 | 1 << 20, 1 << 20),
            (4, "PMD", 0xE7 | 1 << 12, 0),
            (4, "PMD", 0xE7 | 1 << 21, 0),
            (4, "PMD", 0x67 | 1 << 13, 0),  # table 5-19
            (4, "PTE", 0xE7 | 1 << 13, 0),  # table 5-20: bit 7 is PAT
            *((4, level, 0x67 | 1 << bit, 1 << bit) for level in ("PGD", "PUD", "PMD", "PTE") for bit in (46, 51)),
            *((4, level, 0x67 | 1 << bit, 0) for level in ("PGD", "PUD", "PMD", "PTE") for bit in (45, 52, 58, 62, 63)),
        ],
    )
    def test_row(self, levels: int, level: str, raw: int, reserved: int) -> None:
        form = x86_64(levels, 46)
        at = next(one for one in form.levels if one.name == level)
        assert at.wrong(raw) == reserved


class TestLevels:
    """Intel SDM vol. 3A, 5.5.4 and figures 5-8 to 5-12: where each index sits in a linear address."""

    @pytest.mark.parametrize(
        ("name", "indexes"),
        [
            ("x86-64", [0x100, 0, 0x0A5, 0x15A, 0x0FF]),
            ("x86-64-la57", [0x1FF, 0x100, 0x0A5, 0x15A, 0x0FF]),
        ],
    )
    def test_indexes(self, name: str, indexes: list[int]) -> None:
        vaddr = 0xFFFF << 48 | 0x100 << 39 | 0x0A5 << 30 | 0x15A << 21 | 0x0FF << 12 | 0x123
        form = pw.find_format(name)
        assert [level.index(vaddr) for level in form.levels] == indexes

    def test_folds(self) -> None:
        four, five = pw.find_format("x86-64"), pw.find_format("x86-64-la57")
        assert [level.folded for level in four.levels] == [False, True, False, False, False]
        assert [level.real_depth for level in four.levels] == [0, 0, 2, 3, 4]
        assert [level.real_depth for level in five.levels] == [0, 1, 2, 3, 4]
        assert [level.manual for level in five.real_levels] == ["PML5", "PML4", "PDPT", "PD", "PT"]
        assert four.page_sizes == five.page_sizes == (1 << 12, 1 << 21, 1 << 30)

    @pytest.mark.parametrize(("levels", "low", "high"), [(4, 1 << 47, -(1 << 47)), (5, 1 << 56, -(1 << 56))])
    def test_canonical(self, levels: int, low: int, high: int) -> None:
        form = x86_64(levels)
        top = 1 << 64
        assert [window[:2] for window in form.windows] == [(0, low), (top + high, top)]
        assert [form.window_of(at) is not None for at in (0, low - 1, low, top + high - 1, top + high, top - 1)] == [
            True,
            True,
            False,
            False,
            True,
            True,
        ]

    @pytest.mark.parametrize(("levels", "bits"), [(3, 52), (6, 52), (4, 31), (4, 53)])
    def test_others_are_refused(self, levels: int, bits: int) -> None:
        with pytest.raises(ValueError, match="4 or 5 levels"):
            x86_64(levels, bits)


class TestFindFormat:
    def test_by_name_and_by_itself(self) -> None:
        form = pw.find_format("x86-64")
        assert pw.find_format(form) is form

    @pytest.mark.parametrize(("name", "hint"), [("x86_64", "'x86-64'"), ("x86-64-la75", "'x86-64-la57'")])
    def test_unknown_names_get_a_suggestion(self, name: str, hint: str) -> None:
        with pytest.raises(
            pw.UnsupportedError, match=f"unknown format '{name}': did you mean {hint}.*known are x86-64"
        ) as e:
            pw.find_format(name)
        assert e.value.exit_code == 8

    def test_nothing_like_it(self) -> None:
        with pytest.raises(pw.UnsupportedError, match="unknown format 'zzz': known are x86-64"):
            pw.find_format("zzz")
