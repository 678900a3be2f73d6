"""Roots that are hardly one are refused, with the likely cause; what is only odd is said."""

import subprocess
import sys

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import FORMATS, from_registers
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.memory import FlatMemory, Segment
from pagewalk.sources import check_root, notes_of
from pagewalk.tables import PageTables
from tests.guests import FORMATS as GUESTS
from tests.guests import unpack

TABLE = 0x67


def tables(slots, *, pages=16, form="x86-64", base=0):
    """A top table with these slots."""
    words = np.zeros(pages * 512, np.uint64)
    for slot, value in slots.items():
        words[slot] = value
    return PageTables(FlatMemory([Segment(base, memoryview(words.tobytes()))]), base, form)


class TestCheck:
    def test_a_good_one(self):
        check_root(tables({0: 0x1000 | TABLE, 511: 0x2000 | TABLE}))
        check_root(tables({}))

    def test_some_of_an_image(self):
        """Of some images only a part is at hand: one table inside is enough."""
        check_root(tables({0: 0x1000 | TABLE} | {at: at << 30 | TABLE for at in range(1, 100)}))

    @pytest.mark.parametrize("form", ["x86-64", "x86-64-la57"])
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (0x1000 | TABLE | 0x80, "3 set reserved bits"),
            (0x7BA6718A2D7E4D5A, "3 are neither present nor empty"),
            (5 << 40 | TABLE, "3 point outside the memory"),
        ],
    )
    def test_what_is_wrong_is_said(self, value, words, form):
        with pytest.raises(pw.BadRoot, match=f"of 3 entries that are not empty, {words}: .*root.*base.*format"):
            check_root(tables({1: value, 2: value, 300: value}, form=form))

    def test_most_of_them(self):
        with pytest.raises(pw.BadRoot, match="of 5 entries"):
            check_root(tables({0: 0x1000 | TABLE, 1: 0x1000 | TABLE, 2: 2, 3: 4, 4: 0x10}))
        check_root(tables({0: 0x1000 | TABLE, 1: 0x1000 | TABLE, 2: 2, 3: 4}))

    @pytest.mark.parametrize("bit", [47, 51])
    def test_an_encryption_bit(self, bit):
        with pytest.raises(pw.BadRoot, match=f"without bit {bit}.*encryption.*is the root wrong"):
            check_root(tables(dict.fromkeys((0, 3, 511), 1 << bit | 4096 | TABLE)))

    def test_bits_above_the_physical_width(self):
        with pytest.raises(pw.BadRoot, match="1 set reserved bits"):
            check_root(tables({0: 1 << 45 | TABLE}, form=x86_64(physical_bits=40)))

    def test_text_is_no_top_table(self):
        words = b"All work and no play makes Jack a dull boy. " * 100
        with pytest.raises(pw.BadRoot):
            check_root(PageTables(FlatMemory([Segment(0, memoryview(words[:4096]))]), 0))


class TestNotes:
    def test_nothing_to_say(self):
        assert notes_of(tables({0: 0x1000 | TABLE})) == []

    def test_an_empty_one(self):
        assert "is empty" in notes_of(tables({}))[0]

    def test_a_recursive_slot(self):
        (note,) = notes_of(tables({0: 0x9000 | TABLE, 510: 0x8000 | TABLE}, base=0x8000))
        assert note.startswith("from 0xffffff0000000000 on, 0x8000000000 bytes show the page tables")

    def test_nothing_but_recursive_slots(self):
        assert len(notes_of(tables(dict.fromkeys(range(512), TABLE)))) == 5


class Asked:
    """A memory without a view, which counts how often it is asked."""

    def __init__(self, flat):
        self._flat, self.reads = flat, 0

    def read(self, paddr, size):
        self.reads += 1
        return self._flat.read(paddr, size)


class TestWindows:
    """Each top table is looked at, and each once."""

    LOW, HIGH = 0x1000, 0x2000
    TCR = 16 | 16 << 16 | 2 << 30
    GOOD = 0x3003

    def two(self, low, high, memory=None):
        """Tables whose halves have a root each."""
        words = np.zeros(8 * 512, np.uint64)
        for root, slots in ((self.LOW, low), (self.HIGH, high)):
            for slot, value in slots.items():
                words[root // 8 + slot] = value
        flat = FlatMemory([Segment(0, memoryview(words.tobytes()))])
        found = from_registers({"tcr_el1": self.TCR, "ttbr0_el1": self.LOW, "ttbr1_el1": self.HIGH})
        return PageTables(memory(flat) if memory else flat, None, found.format, windows=found.windows)

    def test_good_ones(self):
        good = self.two({0: self.GOOD}, {511: self.GOOD})
        check_root(good)
        assert notes_of(good) == []

    def test_either_is_refused(self):
        for which, slots in ((0, ({1: 1}, {1: self.GOOD})), (1, ({1: self.GOOD}, {1: 1}))):
            root = (self.LOW, self.HIGH)[which]
            with pytest.raises(pw.BadRoot, match=f"the root {root:#x} is hardly a top table: of 1 entries"):
                check_root(self.two(*slots))

    def test_notes_of_both(self):
        empty, again = notes_of(self.two({}, {2: self.HIGH | 3}))
        assert empty.startswith(f"the top table at {self.LOW:#x} is empty")
        assert again.startswith("from 0xffff010000000000 on, 0x8000000000 bytes show the page tables")
        (low,) = notes_of(self.two({2: self.LOW | 3}, {0: self.GOOD}))
        assert low.startswith("from 0x10000000000 on")

    def test_a_remote_table_is_read_once(self):
        far = self.two({0: self.GOOD}, {0: self.GOOD}, Asked)
        check_root(far)
        assert far.memory.reads == 2
        one = PageTables(Asked(far.memory._flat), self.LOW, "x86-64")
        notes_of(one)
        assert one.memory.reads == 1


@pytest.fixture(scope="module", params=GUESTS)
def real(request, tmp_path_factory):
    """A real guest: its image, its registers, and the root of its user's half."""
    one = unpack(request.param, tmp_path_factory.mktemp("guest"))
    registers = {name: value for name, value in one.registers.items() if name != "mair_el1"}
    by_registers = pw.open(one.path, registers=registers, base=one.truth["ram_base"])
    return by_registers, one


class TestOtherFormats:
    """A root whose tables look like those of another format, and hardly like those of this one, is refused."""

    def test_its_own(self, real):
        by_registers, one = real
        check_root(by_registers)
        for window in by_registers.windows:
            check_root(pw.open(one.path, root=window.root, base=one.truth["ram_base"], format=by_registers.format.name))

    @pytest.mark.parametrize("form", FORMATS)
    def test_another(self, real, form):
        by_registers, one = real
        own, root = by_registers.format.name, by_registers.windows[0].root
        if form == own:
            return
        try:
            tables = pw.open(one.path, root=root, base=one.truth["ram_base"], format=form)
        except pw.BadRoot:
            return  # its top table is larger, and the root not aligned to that
        with pytest.raises(pw.BadRoot, match=f"is hardly a top table: .* is the format {own}[?]") as caught:
            check_root(tables)
        assert "\n" not in str(caught.value)

    def test_some_of_an_image(self, real):
        """What lies behind the last table that is reached from the root alone is not at hand."""
        by_registers, one = real
        base, root = one.truth["ram_base"], by_registers.windows[0].root
        some = FlatMemory([Segment(base, memoryview(one.ram[: root - base + (1 << 20)]))])
        check_root(PageTables(some, root, by_registers.format.name))

    def test_a_recursive_slot(self, real):
        by_registers, one = real
        base, root = one.truth["ram_base"], by_registers.windows[0].root
        level = by_registers.format.levels[0]
        image = bytearray(one.ram)
        at = root - base + 8 * (level.entries // 2 - 1)
        image[at : at + 8] = level.table(root).to_bytes(8, "little")
        tables = PageTables(FlatMemory([Segment(base, memoryview(image))]), root, by_registers.format.name)
        check_root(tables)
        assert "a recursive slot" in notes_of(tables)[0]

    def test_nobody_has_accessed_a_page(self):
        """Which speaks against it, but for no other format."""
        words = np.zeros(5 * 512, np.uint64)
        words[[0, 512, 1024]] = [0x1003, 0x2003, 0x3003]
        words[1536:2048] = 0x4003
        for form in ("x86-64", "arm64-4k"):
            check_root(PageTables(FlatMemory([Segment(0, memoryview(words.tobytes()))]), 0, form))

    def test_the_command(self, real):
        by_registers, one = real
        wrong = "riscv-sv39" if by_registers.format.name == "x86-64" else "x86-64"
        words = ["--root", hex(by_registers.windows[0].root), "--base", hex(one.truth["ram_base"]), "--format", wrong]
        done = TestCommand.pagewalk("map", one.path, *words)
        assert done.returncode == pw.BadRoot.exit_code
        assert len(done.stderr.splitlines()) == 1
        assert f"is the format {by_registers.format.name}?" in done.stderr


class TestCommand:
    """The command refuses such a root, or says what it found, before anything else."""

    @staticmethod
    def pagewalk(*words):
        return subprocess.run([sys.executable, "-m", "pagewalk", *words], capture_output=True, text=True, check=False)

    @pytest.mark.parametrize("command", [["map"], ["vtop"]])
    def test_a_data_page_is_no_root(self, guest, command):
        done = self.pagewalk(*command, guest.path, "--root", "0x2fc0000", *["0x1000"] * (command == ["vtop"]))
        assert done.returncode == pw.BadRoot.exit_code
        assert done.stderr.startswith("pagewalk: the root 0x2fc0000 is hardly a top table")
        assert len(done.stderr.splitlines()) == 1
        assert not done.stdout

    def test_an_empty_page(self, guest):
        done = self.pagewalk("map", guest.path, "--root", "0x5000")
        assert done.returncode == 0
        assert "nothing is mapped" in done.stdout
        assert "the top table at 0x5000 is empty" in done.stderr
