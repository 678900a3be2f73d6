"""Three real guests, opened by their registers alone: every page that their kernels spoke of, by every way.

What the entries of ``pagemap`` and ``kpageflags`` are: see ``test_guests``.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import NO_PADDR
from pagewalk.sweep.jit import VARIABLE
from tests.guests import FORMATS, unpack

PRESENT, SWAP, GUARD, UFFD_WP, HUGETLB = 1 << 63, 1 << 62, 1 << 58, 1 << 57, 1 << 17
PFN, PAGE = (1 << 55) - 1, 4096
MARKER, HWPOISON = 31, 24  # numbers of Linux's swap types
RIGHTS = {"r": pw.Flag.READ, "w": pw.Flag.WRITE, "x": pw.Flag.EXEC}


@pytest.fixture(scope="module", params=FORMATS)
def guest(request, tmp_path_factory):
    return unpack(request.param, tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="module")
def tables(guest):
    return pw.open(guest.path, registers=guest.registers, base=guest.truth["ram_base"])


@pytest.fixture(params=["numpy", "numba"])
def engine(request, monkeypatch):
    if request.param == "numba":
        pytest.importorskip("numba")
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


@pytest.fixture(scope="module")
def text(guest):
    """The registers as text, in capitals."""
    return ",".join(f"{name.upper()}={value:#x}" for name, value in guest.registers.items())


def is_shut(guest, vaddr):
    """Whether nobody may touch a page's VMA."""
    return guest.rights[vaddr].startswith("---")


def expected(guest, vaddr):
    """The kind that a page's entry in pagemap stands for."""
    word = guest.pagemap[vaddr]
    if word & PRESENT:
        return pw.Kind.PROT_NONE if is_shut(guest, vaddr) else pw.Kind.PRESENT
    if not word & SWAP:
        return pw.Kind.NONE
    if word & GUARD:
        return pw.Kind.GUARD
    special = {MARKER: pw.Kind.UFFD_WP, HWPOISON: pw.Kind.HWPOISON}
    return special.get(word & 31, pw.Kind.SWAP)


def frames(guest):
    """The frame of each page that pagemap calls present."""
    return {vaddr: (word & PFN) * PAGE for vaddr, word in guest.pagemap.items() if word & PRESENT}


class TestOpened:
    def test_the_format_follows(self, guest, tables):
        assert tables.format.name == FORMATS[guest.truth["name"]]
        assert [(one.start, one.end) for one in tables.windows] == [(low, end) for low, end, _ in guest.windows]

    def test_text_and_any_case(self, guest, tables, text):
        twin = pw.open(guest.path, registers=text, base=guest.truth["ram_base"])
        assert (twin.format, twin.windows) == (tables.format, tables.windows)

    def test_a_system(self, guest, tables):
        """Of pages that are there, any says the same frames."""
        ours = pw.mappings(tables, kinds=[pw.Kind.PRESENT], coalesce=False)
        for os in ("linux-7.3", "none"):
            other = pw.open(guest.path, registers=guest.registers, base=guest.truth["ram_base"], os=os)
            assert other.format.system == os
            rows = pw.mappings(other, kinds=[pw.Kind.PRESENT], coalesce=False)
            assert rows[["vaddr", "paddr", "page_size"]].tolist() == ours[["vaddr", "paddr", "page_size"]].tolist()


class TestEveryPage:
    """Frames, page sizes, kinds: one by one, and as arrays."""

    def test_scalar(self, guest, tables):
        where = frames(guest)
        for vaddr in guest.pagemap:
            try:
                page = tables.translate(vaddr)
            except pw.NotPresent:
                assert vaddr not in where, hex(vaddr)
                continue
            assert page.paddr == where[vaddr], hex(vaddr)
            assert page.kind is expected(guest, vaddr), hex(vaddr)

    def test_the_last_entry(self, guest, tables):
        """What stands in place of a page, by the entry at the end of the way."""
        for vaddr in guest.pagemap:
            (*_, entry) = tables.steps(vaddr)
            assert entry.kind is expected(guest, vaddr), hex(vaddr)

    def test_translate(self, guest, tables, engine):
        vaddrs = np.array(sorted(guest.pagemap), np.uint64)
        where = frames(guest)
        paddrs, mapped = pw.translate(tables, vaddrs)
        assert mapped.tolist() == [vaddr in where for vaddr in vaddrs.tolist()]
        assert paddrs[mapped].tolist() == [where[vaddr] for vaddr in vaddrs[mapped].tolist()]
        mapped = pw.translate(tables, vaddrs, hardware=True)[1]
        assert mapped.tolist() == [vaddr in where and not is_shut(guest, vaddr) for vaddr in vaddrs.tolist()]

    @pytest.mark.parametrize("coalesce", [False, True])
    def test_mappings(self, guest, tables, engine, coalesce):
        rows = pw.mappings(tables, 0, tables.windows[0].end, coalesce=coalesce)
        found, kinds, rights = {}, {}, {}
        for row in rows[["vaddr", "size", "paddr", "kind", "flags"]].tolist():
            vaddr, size, paddr, kind, flags = row
            for at in range(0, size, PAGE):
                kinds[vaddr + at], rights[vaddr + at] = pw.Kind(kind), pw.Flag(flags) & pw.Flag.rights()
                if paddr != NO_PADDR and kind in (pw.Kind.PRESENT, pw.Kind.PROT_NONE):
                    found[vaddr + at] = paddr + (0 if flags & pw.Flag.REPEATED else at)
        assert found == frames(guest)
        wanted = {vaddr: expected(guest, vaddr) for vaddr in guest.pagemap}
        assert kinds == {vaddr: kind for vaddr, kind in wanted.items() if kind is not pw.Kind.NONE}
        for vaddr, kind in kinds.items():
            allowed = sum(flag for letter, flag in RIGHTS.items() if letter in guest.rights[vaddr])
            has = rights[vaddr] & ~pw.Flag.USER
            assert not has & ~allowed if kind is pw.Kind.PRESENT else not has, hex(vaddr)

    def test_page_sizes(self, guest, tables, engine):
        rows = pw.mappings(tables, 0, tables.windows[0].end, coalesce=False)
        sizes = {
            vaddr + at: page_size
            for vaddr, size, page_size in rows[["vaddr", "size", "page_size"]].tolist()
            for at in range(0, size, PAGE)
        }
        huge = {int(vaddr) for vaddr, flags in guest.truth["kpf"].items() if flags & HUGETLB}
        assert huge
        for vaddr in huge:
            assert sizes[vaddr] == (2 << 20 if vaddr in guest.region("hugetlb") else 64 << 10), hex(vaddr)
            assert tables.translate(vaddr).page_size == sizes[vaddr]

    def test_swap(self, guest, tables):
        rows = pw.mappings(tables, 0, tables.windows[0].end, coalesce=False, kinds=[pw.Kind.SWAP])
        for vaddr, type_, offset in rows[["vaddr", "swap_type", "swap_offset"]].tolist():
            assert (guest.pagemap[vaddr] & PFN) == type_ | offset << 5

    def test_the_kernels_window(self, tables, engine):
        window = tables.windows[1]
        rows = pw.mappings(tables, window.start, window.end)
        assert len(rows)
        assert not (rows["flags"] & int(pw.Flag.USER)).any()
        pages = pw.mappings(tables, window.start, window.end, coalesce=False, hardware=True)
        paddrs, mapped = pw.translate(tables, pages["vaddr"], hardware=True)
        assert mapped.all()
        assert paddrs.tolist() == pages["paddr"].tolist()


class TestCommand:
    @pytest.fixture
    def invoke(self):
        from click.testing import CliRunner

        from pagewalk.cli import main

        return lambda *words: CliRunner().invoke(main, [str(word) for word in words], prog_name="pagewalk")

    def test_map(self, guest, tables, text, invoke):
        done = invoke(
            "map", guest.path, "--registers", text, "--base", hex(guest.truth["ram_base"]), "--json", "--pages"
        )
        assert (done.exit_code, done.stderr) == (0, "")
        said, rows = json.loads(done.stdout), pw.mappings(tables, coalesce=False)
        assert (said["format"], said["os"], said["root"]) == (tables.format.name, "linux", hex(tables.root))
        assert said["windows"] == [
            {"vaddr": hex(one.start), "size": one.end - one.start, "root": hex(one.root)} for one in tables.windows
        ]
        assert [(row["vaddr"], row["page_size"], row["entry"]) for row in said["mappings"]] == [
            (hex(vaddr), size, hex(entry)) for vaddr, size, entry in rows[["vaddr", "page_size", "entry"]].tolist()
        ]

    def test_map_as_text(self, guest, tables, text, invoke):
        done = invoke("map", guest.path, "--registers", text, "--base", hex(guest.truth["ram_base"]), "--state")
        assert (done.exit_code, done.stderr) == (0, "")
        lines = [line for line in done.stdout.splitlines() if line.startswith("0x")]
        assert [int(line.split("-")[0], 16) for line in lines] == pw.mappings(tables)["vaddr"].tolist()

    def test_vtop(self, guest, text, invoke):
        where = frames(guest)
        some = sorted(where)[:: max(1, len(where) // 20)]
        base = hex(guest.truth["ram_base"])
        done = invoke("vtop", guest.path, "--registers", text, "--base", base, "--json", *map(hex, some))
        assert (done.exit_code, done.stderr) == (0, "")
        assert [int(one["paddr"], 16) for one in json.loads(done.stdout)] == [where[vaddr] for vaddr in some]

    def test_registers_in_several_options(self, guest, text, invoke):
        given = [word for part in text.split(",") for word in ("--registers", part)]
        where = [guest.path, "--base", hex(guest.truth["ram_base"])]
        assert invoke("map", *where, *given).stdout == invoke("map", *where, "--registers", text).stdout
