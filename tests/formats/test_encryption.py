"""The bit that marks encrypted memory: AMD APM vol. 2, 15.34.5; CPUID 8000001F says 51 or 47; TDX has 51 or 47 too."""

from __future__ import annotations

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import NO_PADDR, Flag, Kind, find_format, from_registers
from pagewalk.formats.encryption import encrypted
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.sources import check_root
from pagewalk.testing import check_format
from tests.built import C_BIT, ENCRYPTED, build
from tests.reference.families import Family
from tests.reference.linux import X86Linux
from tests.reference.x86 import Hardware

TABLE = 0x67
PAGE = 0x8000_0000_0000_0067


def family(bit, levels=4):
    """The manual's walker with the bit."""
    width = 46 if levels == 4 else 52
    make = Family(lambda read, root, _: Hardware(read, root, levels, encryption=1 << bit), 0, X86Linux(12, width - 12))
    return make._replace(bits=48 if levels == 4 else 57)


@pytest.fixture
def image(tmp_path):
    """Encrypted tables."""
    return build(tmp_path / "image", ENCRYPTED)


class TestFormat:
    @pytest.mark.parametrize("os", ["linux", "none"])
    @pytest.mark.parametrize("bit", [32, 40, 47, 51])
    def test_it_keeps_every_promise(self, bit, os):
        check_format(find_format("x86-64", os, encryption_bit=bit), rounds=0)

    @pytest.mark.parametrize(("name", "levels", "bit"), [("x86-64", 4, 47), ("x86-64", 4, 51), ("x86-64-la57", 5, 51)])
    def test_walk_sweep_and_reference_agree(self, name, levels, bit):
        check_format(find_format(name, encryption_bit=bit), reference=family(bit, levels), rounds=12)

    def test_it_is_not_reserved(self):
        """Where the CPU has fewer physical bits than that."""
        form = encrypted(x86_64(physical_bits=43), 47)
        assert form.last.wrong(0x1000 | 1 << 47 | PAGE) == 0
        assert form.last.wrong(0x1000 | 1 << 46 | PAGE) == 1 << 46

    def test_what_is_made_has_it(self):
        form = find_format("x86-64", encryption_bit=51)
        for level in form.real_levels[:-1]:
            assert level.table(0x1000) & C_BIT
        frames = np.array([0x1000, 0x2000], np.uint64)
        made = form.last.page(frames, np.full(2, int(Flag.READ), np.uint32))
        assert made.tolist() == [form.last.page(at, Flag.READ) for at in (0x1000, 0x2000)]
        assert all(entry & C_BIT for entry in made.tolist())
        assert form.last.frame(made).tolist() == [0x1000, 0x2000]

    @pytest.mark.parametrize("mark", [0, C_BIT])
    def test_what_is_changed_keeps_it(self, mark):
        form = find_format("x86-64", encryption_bit=51)
        huge = form.levels[3]
        first, step = huge.split(0x20_0000 | 0xE7 | mark)
        assert (first & C_BIT, step) == (mark, 0x1000)
        for entry in (form.last.without_flags(first, Flag.WRITE), form.last.without_rights(first)):
            assert entry & C_BIT == mark
            assert form.last.frame(entry) == 0x20_0000

    def test_other_entries_are_as_they_were(self):
        """A swap entry, a marker and a migrating page have no such bit."""
        form, plain = find_format("x86-64", encryption_bit=51), find_format("x86-64")
        for entry in (0, plain.guard_entry, plain.last.swap(5, 0x1234), 0xCFFF_FFFF_FFDB_9600):
            assert form.kind(entry) == plain.kind(entry)
            assert form.frame(entry, form.last) == plain.frame(entry, plain.last)


class TestOpen:
    @pytest.mark.parametrize(
        "where", [{"root": 0x1000}, {"root": C_BIT | 0x1000}, {"registers": {"cr3": C_BIT | 0x1000}}]
    )
    def test_both_pages_are_found(self, image, where):
        with pw.open(image, encryption_bit=51, **where) as tables:
            assert tables.root == 0x1000
            rows = pw.mappings(tables)
            assert rows["paddr"].tolist() == [0x6000, 0x5000]
            assert rows["size"].tolist() == [0x2000, 0x1000]
            assert rows["kind"].tolist() == [Kind.PRESENT, Kind.PROT_NONE]
            found, _ = pw.translate(tables, [0, 0x1000, 0x2000, 0x3000])
            assert found.tolist() == [0x6000, 0x7000, NO_PADDR, 0x5000]
            assert [tables.translate(at).paddr for at in (0, 0x1000, 0x3000)] == [0x6000, 0x7000, 0x5000]

    def test_without_it_the_remedy_is_said(self, image):
        with (
            pw.open(image, root=0x1000) as tables,
            pytest.raises(pw.BadRoot, match=r"without bit 51.*--encryption-bit 51"),
        ):
            check_root(tables)

    @pytest.mark.parametrize("where", [{"root": C_BIT | 0x1000}, {"registers": {"cr3": C_BIT | 0x1000}}])
    def test_a_root_with_the_bit_says_so_too(self, image, where):
        with pytest.raises(
            pw.BadRoot, match=r"outside the memory, .*: bit 51 is an encryption bit .*, or the image is"
        ):
            pw.open(image, **where)

    def test_tables_that_grow_are_encrypted(self, image):
        with pw.open(image, root=0x1000, encryption_bit=51) as opened:
            memory = pw.Ram(16 * 4096)
            memory.write(0, image.read_bytes())
            tables = pw.PageTables(memory, 0x1000, opened.format, allocator=pw.RangeAllocator((0x8000, 0xA000)))
            top = next(tables.steps(1 << 40))
            tables.grow(top, 1 << 40)
            assert top.value == C_BIT | 0x8000 | TABLE

    @pytest.mark.parametrize("bit", [0, 31, 52, 64, -1])
    def test_which_bits_there_are(self, image, bit):
        with pytest.raises(ValueError, match=f"one of bits 32 to 51 of an address, not {bit}$"):
            pw.open(image, root=0x1000, encryption_bit=bit)

    @pytest.mark.parametrize("bit", ["51", 51.0, True])
    def test_it_is_an_integer(self, image, bit):
        with pytest.raises(TypeError, match="encryption_bit must be an integer"):
            pw.open(image, root=0x1000, encryption_bit=bit)

    @pytest.mark.parametrize("name", ["arm64-4k", "riscv-sv39", "ia32", "pae"])
    def test_only_x86_64_has_one(self, image, name):
        with pytest.raises(pw.UnsupportedError, match=f"one of x86-64's, and {name} has none: leave it out"):
            pw.open(image, root=0x1000, format=name, encryption_bit=51)
        with pytest.raises(pw.UnsupportedError, match="riscv-sv39 has none"):
            from_registers({"satp": 8 << 60 | 1}, encryption_bit=51)

    def test_a_format_has_one_once(self, image):
        form = find_format("x86-64", encryption_bit=51)
        with pytest.raises(pw.UnsupportedError, match="is given with an encryption bit: leave out"):
            pw.open(image, root=0x1000, format=form, encryption_bit=47)
