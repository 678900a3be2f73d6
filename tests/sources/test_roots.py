"""Roots in bare memory: of real guests, among hostile noise, and in what is damaged."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.errors import UnsupportedError
from pagewalk.memory import FlatMemory, Segment
from pagewalk.sources import Source
from tests.guests import FORMATS as GUESTS
from tests.guests import unpack
from tests.memory.cores import lime
from tests.sources.noise import PAGE, SIZE, Machine

BUILT = ["x86-64", "x86-64-la57", "riscv-sv39", "riscv-sv48", "riscv-sv57"]


@pytest.fixture(scope="module", params=GUESTS)
def guest(request, tmp_path_factory):
    return unpack(request.param, tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="module", params=BUILT)
def machine(request):
    return Machine(request.param, 7)


def found(memory, **options):
    return Source("memory", "raw", memory).roots(**options)


def roots_of(rows, kind):
    return sorted(rows["root"][rows["kind"] == kind].tolist())


class TestGuests:
    def test_the_program_that_its_registers_name(self, guest):
        rows = pw.roots(guest.path, base=guest.truth["ram_base"])
        (process,) = roots_of(rows, "process")
        assert process == pw.open(guest.path, registers=guest.registers, base=guest.truth["ram_base"]).windows[0].root
        assert set(rows["format"]) == {GUESTS[guest.truth["name"]]}
        assert (rows["score"] >= 0.5).all()

    def test_registers_mark_the_row(self, guest):
        rows = pw.roots(guest.path, base=guest.truth["ram_base"], registers=guest.registers)
        assert rows["cpu"][rows["kind"] == "process"].tolist() == [0]

    def test_with_a_wrong_base_nothing_is_found(self, guest):
        assert not len(pw.roots(guest.path, base=guest.truth["ram_base"] + (64 << 20)))

    def test_auto_is_the_only_program(self, guest):
        base = guest.truth["ram_base"]
        tables = pw.open(guest.path, root="auto", base=base)
        asked = pw.open(guest.path, registers=guest.registers, base=base, os="linux")
        end = tables.windows[0].end
        assert np.array_equal(pw.mappings(tables, 0, end), pw.mappings(asked, 0, end))

    @pytest.mark.parametrize("names", tuple(combinations(GUESTS, 2)), ids="+".join)
    def test_of_two_machines_in_one_file_both(self, names, tmp_path):
        """Neither kernel maps most of the file, and no reading explains both."""
        guests = [unpack(name, tmp_path) for name in names]
        guests.sort(key=lambda one: one.truth["ram_base"])
        (tmp_path / "both.lime").write_bytes(lime([(one.truth["ram_base"], one.ram) for one in guests]))
        rows = pw.roots(tmp_path / "both.lime")
        alone = [pw.roots(one.path, base=one.truth["ram_base"]) for one in guests]
        assert sorted(rows["root"].tolist()) == sorted(int(root) for one in alone for root in one["root"])
        assert set(rows["format"]) == {GUESTS[name] for name in names}
        assert sorted(rows["kernel"].tolist()) == [0, 1]

    def test_zeroed_pages_make_nothing_false(self, guest):
        base = guest.truth["ram_base"]
        true = set(roots_of(pw.roots(guest.path, base=base), "process"))
        words = np.frombuffer(bytearray(guest.ram), np.uint64).reshape(-1, PAGE // 8)
        words[np.random.default_rng(3).random(len(words)) < 0.01] = 0
        memory = FlatMemory([Segment(base, memoryview(words.reshape(-1).view(np.uint8)))])
        assert set(roots_of(found(memory), "process")) <= true


class TestNoise:
    def test_all_are_found_and_nothing_else(self, machine):
        rows = found(machine.memory)
        assert roots_of(rows, "process") == sorted(machine.users)
        assert roots_of(rows, "kernel") == [machine.kernel]
        assert set(rows["format"]) == {machine.form.name}

    def test_auto_is_the_only_kernel(self, machine):
        tables = Source("memory", "raw", machine.memory).tables(root="auto")
        assert {window.root for window in tables.windows} == {machine.kernel}

    def test_a_root_without_the_kernels_part_is_none(self, machine):
        """A program cannot plant one: it knows no frames, and if it did, its fake would lack the kernel's part."""
        fake = machine.frames.allocate() // PAGE
        machine.words[fake] = machine.words[machine.users[0] // PAGE]
        machine.words[fake, -1] = machine.words[fake, 0]
        machine.words[fake, len(machine.words[fake]) // 2 : -1] = 0
        assert fake * PAGE not in found(machine.memory)["root"]
        machine.words[fake] = 0

    def test_a_memory_that_is_not_flat_says_the_same(self, machine):
        class Far:
            extents = np.array([[0, SIZE]], np.uint64)

            def read(self, paddr, size):
                return machine.memory.read(paddr, size)

        forms = [machine.form.name]
        assert np.array_equal(found(Far(), formats=forms), found(machine.memory, formats=forms))

    def test_pages_that_a_dump_leaves_out_are_unknown_and_not_wrong(self, machine):
        """Programs' pages are what dumps leave out; their tables stay."""

        class Dump:
            extents = np.array([[0, SIZE // 4], [SIZE // 2, SIZE]], np.uint64)

            def read(self, paddr, size):
                if paddr < SIZE // 2 and paddr + size > SIZE // 4:
                    raise pw.PageNotInDump(paddr, size, "left out")
                return machine.memory.read(paddr, size)

        assert roots_of(found(Dump()), "process") == sorted(machine.users)

    def test_progress_is_told(self, machine):
        told = []
        found(machine.memory, formats=[machine.form.name], progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (SIZE, SIZE)
        assert told == sorted(told)


class TestRefusals:
    def test_nothing_is_found_in_noise_alone(self):
        noise = np.random.default_rng(5).integers(0, 1 << 63, SIZE // 8, np.uint64)
        memory = FlatMemory([Segment(0, memoryview(noise.view(np.uint8)))])
        assert not len(found(memory))
        with pytest.raises(UnsupportedError, match="no page tables that prove themselves"):
            Source("memory", "raw", memory).tables(root="auto")

    def test_a_format_without_looks(self):
        with pytest.raises(UnsupportedError, match="riscv-sv32 are not known by their looks: known are x86-64"):
            found(FlatMemory([Segment(0, memoryview(bytes(PAGE)))]), formats=["riscv-sv32"])

    def test_a_memory_that_does_not_say_where_it_is(self):
        class Silent:
            def read(self, paddr, size):
                return bytes(size)

        with pytest.raises(UnsupportedError, match="does not say where it has memory"):
            found(Silent())
