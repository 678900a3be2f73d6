"""The small parts of a reading: cutting runs, comparing VMAs, parsing smaps, and turning words into entries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk import Flag, Kind, Vma, VmaFlags
from pagewalk.formats import capture_format
from pagewalk.formats.os.linux import LINUX, SwapTypes
from pagewalk.live.encode import Pages, encode, vma_rights
from pagewalk.live.kernel import kernel_of
from pagewalk.live.maps import parse_vmas
from pagewalk.live.reading import changed_ranges
from pagewalk.live.scan import REGION
from pagewalk.query.ranges import cut
from pagewalk.space import VM_FLAG_CODES

PAGE = 4096
R, W, X = VmaFlags.READ, VmaFlags.WRITE, VmaFlags.EXEC

SMAPS = rb"""00400000-00402000 r-xp 00001000 fe:00 42                         /bin/with\012newline (deleted)
Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
THPeligible:           0
VmFlags: rd ex mr mw me zz
00402000-00600000 rw-p 00000000 00:00 0
KernelPageSize:        4 kB
VmFlags: rd wr mr mw me ac wf hg
00500000-00601000 rw-p 00000000 00:00 0                                  [grew meanwhile]
KernelPageSize:        4 kB
VmFlags: rd wr gd
40000000-80000000 rw-s 00000000 00:10 42                                 /huge/file
KernelPageSize:  1048576 kB
VmFlags: rd wr sh mr mw me ms de ht
80000000-80001000 r--s 00003000 fe:00 42                                 /bin/with\012newline (deleted)
KernelPageSize:        4 kB
VmFlags: rd mr me ms pf io lo
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
KernelPageSize:        4 kB
VmFlags: ex
"""


class TestParse:
    def test_smaps(self):
        text, anonymous, grown, huge, device = parse_vmas(SMAPS)
        assert (text.start, text.end, text.offset) == (0x400000, 0x402000, 0x1000)
        assert text.name == "/bin/with\nnewline (deleted)"
        assert text.flags == R | X | VmaFlags.MAYREAD | VmaFlags.MAYWRITE | VmaFlags.MAYEXEC
        assert anonymous.mapping is None
        assert {VmaFlags.WIPEONFORK, VmaFlags.HUGEPAGE} <= {*anonymous.flags}
        assert (grown.start, grown.end, grown.offset) == (0x600000, 0x601000, 0x100000)
        assert VmaFlags.GROWSDOWN in grown.flags
        assert (huge.huge_page_size, VmaFlags.HUGETLB in huge.flags) == (1 << 30, True)
        assert {VmaFlags.PFNMAP, VmaFlags.IO, VmaFlags.LOCKED, VmaFlags.MAYSHARE} <= {*device.flags}

    def test_vmas_of_a_file_share_its_mapping(self):
        text, _, _, huge, device = parse_vmas(SMAPS)
        assert text.mapping is device.mapping
        assert huge.mapping is not text.mapping, "the same inode number on another device"

    def test_maps_has_rights_alone(self):
        lines = b"".join(line + b"\n" for line in SMAPS.splitlines() if b"-" in line.split(b" ")[0])
        assert [vma.rights for vma in parse_vmas(lines)] == ["r-xp", "rw-p", "rw-p", "rw-s", "r--s"]

    def test_nothing(self):
        assert parse_vmas(b"") == []

    def test_every_flag_has_a_code(self):
        keys = {flag for flag in VmaFlags if (flag.name or "").startswith("PKEY")}  # told by a line of its own
        assert {*VM_FLAG_CODES.values()} == {*VmaFlags} - keys


@settings(deadline=None)
@given(st.sets(st.integers(0, 60), max_size=12), st.sets(st.integers(0, 60), max_size=12))
def test_cut_changes_nothing_but_the_seams(points, edges):
    bounds = sorted(points)[: len(points) // 2 * 2]
    rows = np.array([(a, b, at) for at, (a, b) in enumerate(zip(bounds[::2], bounds[1::2], strict=True))], REGION)
    pieces = cut(rows, np.array(sorted(edges), np.uint64))
    for piece in pieces.tolist():
        assert piece[0] < piece[1]
        assert not any(piece[0] < edge < piece[1] for edge in edges)
    whole = [(at, row[2]) for row in rows.tolist() for at in range(row[0], row[1])]
    assert [(at, piece[2]) for piece in pieces.tolist() for at in range(piece[0], piece[1])] == whole


class TestChanged:
    old = (Vma(0x1000, 0x5000, R | W, name="a"), Vma(0x8000, 0x9000, R))

    @pytest.mark.parametrize(
        ("after", "ranges"),
        [
            ((Vma(0x1000, 0x5000, R | W, name="a"), Vma(0x8000, 0x9000, R)), []),
            ((Vma(0x1000, 0x3000, R | W, name="a"), Vma(0x3000, 0x5000, R | W, name="a"), Vma(0x8000, 0x9000, R)), []),
            ((Vma(0x1000, 0x7000, R | W, name="a"), Vma(0x8000, 0x9000, R)), [(0x5000, 0x7000)]),
            ((Vma(0x2000, 0x5000, R | W, name="a"), Vma(0x8000, 0x9000, R)), [(0x1000, 0x2000)]),
            ((Vma(0x1000, 0x5000, R, name="a"), Vma(0x8000, 0x9000, R)), [(0x1000, 0x5000)]),
            ((Vma(0x8000, 0x9000, R),), [(0x1000, 0x5000)]),
            ((), [(0x1000, 0x5000), (0x8000, 0x9000)]),
        ],
    )
    def test_where(self, after, ranges):
        assert changed_ranges(self.old, after) == ranges


PRESENT, SWAP, FILE, GUARD, WP, ALONE, SOFT = (1 << bit for bit in (63, 62, 61, 58, 57, 56, 55))


class TestEncode:
    """Raw entries as guests of known kernels had them, out of the words that pagemap showed for them."""

    form = capture_format(0)

    def encoded(self, word, vma_flags=R | W, depth=4, zero=False, known=True, private=True):
        rights = vma_rights(vma_flags)
        pages = Pages(*(np.array([each]) for each in (np.uint64(word), np.uint64(rights), private, zero)))
        (entry,) = encode(self.form.levels[depth], pages, known=known).tolist()
        return entry

    @pytest.mark.parametrize(
        ("word", "entry"),
        [
            (0, 0),
            (SOFT, 0),
            (SWAP | GUARD | 0x9F, 0xFFFFFFFFFFFFF600),
            (SWAP | GUARD, 0xFFFFFFFFFFFFF600),
            (SWAP | WP | 1 << 5 | 31, 0xFFFFFFFFFFFFFC00),
            (SWAP | SOFT | 1 << 5, 0x07FFFFFFFFFFFC02),
            (SWAP | 0x57B << 5 | 24, 0xC7FFFFFFFFF50800),
        ],
    )
    def test_not_present(self, word, entry):
        assert self.encoded(word) == entry

    def test_swap_without_its_slot_is_swap(self):
        assert self.form.kind(self.encoded(SWAP)) == Kind.SWAP

    def test_a_page(self):
        entry = self.encoded(PRESENT | ALONE | 0x1234)
        assert self.form.levels[4].frame(entry) == 0x1234000
        assert Flag(self.form.flags(entry)) == Flag.READ | Flag.WRITE | Flag.USER | Flag.EXCLUSIVE

    @pytest.mark.parametrize("depth", [2, 3, 4])
    def test_no_rights(self, depth):
        level = self.form.levels[depth]
        frame = 5 * level.span
        entry = self.encoded(PRESENT | FILE | frame // PAGE, VmaFlags.MAYREAD, depth)
        assert self.form.kind(entry) == Kind.PROT_NONE
        assert self.form.frame(entry, level) == frame
        assert Flag(self.form.flags(entry)) == Flag.FILE
        assert bool(entry & 1 << 7) == (depth < 4)

    @pytest.mark.parametrize(
        ("word", "more", "writable"),
        [
            (PRESENT, {}, True),
            (PRESENT | FILE, {}, False),
            (PRESENT | FILE, {"private": False}, True),
            (PRESENT | WP, {}, False),
            (PRESENT, {"zero": True}, False),
            (PRESENT, {"vma_flags": R}, False),
            (PRESENT, {"vma_flags": W}, True),
        ],
    )
    def test_the_right_to_write(self, word, more, writable):
        flags = Flag(self.form.flags(self.encoded(word | 7, **more)))
        assert (Flag.WRITE in flags) == writable
        assert Flag.READ in flags

    def test_a_frame_not_told_is_not_zero(self):
        level = self.form.levels[4]
        for rights in (R, VmaFlags(0)):
            entry = self.encoded(PRESENT, rights, known=False)
            assert self.form.frame(entry, level) == (1 << 64) - 1
            assert Flag.NO_FRAME in Flag(self.form.flags(entry))

    def test_the_huge_zero_page_is_nobodys(self):
        entry = self.encoded(PRESENT | FILE | ALONE | 512, depth=3, zero=True)
        assert Flag(self.form.flags(entry)) == Flag.READ | Flag.USER | Flag.SPECIAL


@pytest.mark.parametrize(
    ("config", "release", "types"),
    [
        (b"", "6.18.44-fc", SwapTypes((27,), (28, 29, 30), (), (31,), (), 7)),
        (b"\n# CONFIG_DEVICE_PRIVATE is not set\n", "6.12.1", SwapTypes((27,), (28, 29, 30), (), (31,), (), 3)),
        (b"\nCONFIG_DEVICE_PRIVATE=y\n", "7.3.0+deb", LINUX.types),
        (b"\nCONFIG_DEVICE_PRIVATE=y\n", "6.12.0", SwapTypes((23,), (24, 25, 26), (27, 28, 29, 30), (31,), (), 3)),
    ],
)
def test_swap_types_follow_the_configuration(config, release, types):
    assert kernel_of(config, release).types == types
