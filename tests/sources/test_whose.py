"""As whose a memory's entries are read: what its kernel says of itself, and what is said beside that."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import pagewalk as pw
from pagewalk.cli.group import main
from tests.cut import memory_of
from tests.fuzz.processes import pages_of
from tests.guests import DATA
from tests.memory.cores import Load, core, qemu_state, vmcoreinfo

OLDER = "6.12.9+deb13-amd64"


@pytest.fixture(scope="module")
def dump(guest, tmp_path_factory):
    """A guest's memory, as dumps with some release in them."""

    def made(release: str) -> pw.Source:
        notes = qemu_state(cr3=guest.registers["cr3"], cr4=guest.registers["cr4"])
        path = tmp_path_factory.mktemp("dump") / "vmcore"
        path.write_bytes(core([Load(0, guest.ram)], notes + vmcoreinfo(f"OSRELEASE={release}")))
        return pw.source(path)

    return made


def opened(source: pw.Source, **how) -> tuple[str, list[str]]:
    """As whose entries are read, and the notes."""
    notes: list[str] = []
    return source.tables(notes=notes, **how).format.system, notes


class TestUnasked:
    """What a dump says of its kernel counts, unless something else is said."""

    def test_the_kernel_is_followed(self, dump, guest):
        told = [f"the kernel is {OLDER}: its entries are read as linux-6.12"]
        for how in ({}, {"root": guest.root}, {"registers": guest.registers}, {"root": "auto"}):
            assert opened(dump(OLDER), **how) == ("linux-6.12", told)

    @pytest.mark.parametrize("release", ["7.3.4+deb13-cloud-amd64", "7.9.1", "9.0", "odd", ""])
    def test_nothing_is_told_where_entries_are_the_newest(self, dump, release):
        assert opened(dump(release)) == ("linux", [])

    def test_one_older_than_is_known(self, dump):
        (note,) = opened(dump("2.6.32-754.el6"))[1]
        assert note == "the kernel is 2.6.32-754.el6: its entries are read as linux-3.10, the nearest that is known"

    def test_registers_still_say_what_becomes_of_rights(self, dump, guest):
        registers = {**guest.registers, "cr4": guest.registers["cr4"] | 1 << 20}
        rules = dump(OLDER).tables(registers=registers).format.last.access.rules
        assert "SMEP" in [rule.name for rule in rules]


class TestContradicted:
    """What is said counts, and that it contradicts the kernel is told, with the remedy, in one line."""

    def test_by_a_version(self, dump):
        system, (note,) = opened(dump(OLDER), os="linux-5.10")
        assert system == "linux-5.10"
        assert note == (
            f"the kernel says that it is {OLDER}, and its entries are read as linux-5.10, whose differ: "
            "is the system (--os) wrong? linux-6.12 is the kernel's own"
        )

    def test_by_another_system(self, dump):
        assert opened(dump(OLDER), os="windows")[1]
        assert opened(dump(OLDER), format=pw.find_format("x86-64"))[1]

    @pytest.mark.parametrize("os", ["linux-6.12", "linux-6.12,device_private=no", "none"])
    def test_by_nothing(self, dump, os):
        assert opened(dump(OLDER), os=os) == (os, [])

    def test_a_real_dump(self):
        """By makedumpfile, of Debian's 7.3."""
        with pw.source(DATA / "x86_64-7.3.kdump") as source:
            assert opened(source) == ("linux", [])
            (note,) = opened(source, os="linux-6.1")[1]
            assert note.startswith("the kernel says that it is 7.3.4+deb13-cloud-amd64, and")

    def test_a_process(self):
        source = pw.Source("cut", "raw", memory_of(pages_of("processes-x86_64-5.10")))
        system, notes = opened(source, pid=1, os="linux-6.12")
        assert system == "linux-6.12"
        assert any("linux-5.10 is the kernel's own" in note for note in notes)
        assert not any("linux-5.10 is" in note for note in opened(source, pid=1)[1])

    def test_the_command_tells_it(self, dump):
        done = CliRunner().invoke(main, ["map", str(dump(OLDER).name), "--os", "linux-5.10", "--limit", "1"])
        assert done.exit_code == 0
        assert f"note: the kernel says that it is {OLDER}, and its entries are read as linux-5.10, " in done.stderr
