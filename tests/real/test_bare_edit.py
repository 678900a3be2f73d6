"""Changes of a machine that has no guest: what its two doors take, and what is left where one of them is lost."""

from __future__ import annotations

import socket

import pytest

import pagewalk as pw
from pagewalk.editing.journal import COMMITTED, UNDONE, WRITING, Journal
from pagewalk.memory.machines.gdb import GdbStub
from pagewalk.memory.machines.qmp import SharedRam
from tests.conftest import skip_or_fail
from tests.real.bare import bare
from tests.real.packages import NotToBeHad
from tests.real.stub import Stub
from tests.world import M

pytestmark = pytest.mark.real

BASE = 0x4000_0000
START, END = 2 * M, 4 * M
"""Where tables are: a PC's firmware, which runs when gdb's door is left, writes elsewhere."""
PAGES = 16
KINDS = {"gdb": GdbStub, "qmp": SharedRam}
doors = pytest.mark.parametrize("door", KINDS)


@pytest.fixture
def machine(tmp_path):
    """A machine that stands still, whose RAM is a shared file, with some pages mapped."""
    ram = pw.Ram(END)
    tables = pw.PageTables(ram, START, allocator=pw.RangeAllocator((START + 4096, END)))
    with pw.edit(tables) as change:
        change.install(BASE, 8 * M, PAGES * 4096, "rw-u")
        change.commit()
    try:
        with bare(tmp_path, shared=True) as one:
            stub = GdbStub(str(one.gdb), writable=True, resume=False)
            stub.write(START, ram.read(START, END - START))
            stub.close()
            yield one
    except NotToBeHad as reason:
        skip_or_fail(f"no machine: {reason}")


def contents(machine):
    """The bytes of its tables; it stands still."""
    machine.monitor.ask("stop")
    return machine.ram.read_bytes()[START:END]


def name(machine, door):
    """A door, as a source."""
    return f"{door}:{getattr(machine, door)}"


def changed(tables):
    """A change of three entries that are there, apart, and of one that is not, with a new table: five runs."""
    change = pw.edit(tables, frames=[(16 * M, 16 * M + 4096)])
    for at in (1, 4, 7):
        change.protect(BASE + at * 4096, 4096, "r--u")
    change.install(BASE + 32 * M, 9 * M, 4096, "rw-u")
    return change


def hang_up(memory):
    """Lose the connection of a gdb stub, as a network does."""
    memory._stub._wire._socket.shutdown(socket.SHUT_RDWR)


def lost(monkeypatch, kind, number, action):
    """Have a connection lost before a write of a number, or before CPUs are told, if there are no more writes."""
    done, write, forget = [], kind.write, kind.forget

    def counted(self, paddr, data):
        done.append(paddr)
        if len(done) == number + 1:
            action(self)
        write(self, paddr, data)

    def told(self, ranges):
        if len(done) <= number:
            action(self)
        return forget(self, ranges)

    monkeypatch.setattr(kind, "write", counted)
    monkeypatch.setattr(kind, "forget", told)


class TestBothDoors:
    @doors
    def test_there_and_back(self, machine, door, tmp_path):
        before, journal = contents(machine), tmp_path / "journal"
        with pw.source(name(machine, door), writable=True) as source:
            done = changed(source.tables(root=START)).commit(journal=journal)
            assert (done.words, done.flushed) == (5, 3)
        assert contents(machine) != before
        assert Journal.load(journal).head["memory"] == {door: str(getattr(machine, door))}
        pw.undo(journal)
        assert contents(machine) == before
        assert Journal.load(journal).state == UNDONE

    @doors
    def test_of_the_command(self, machine, door, tmp_path):
        from click.testing import CliRunner

        from pagewalk.cli.edit import edit

        before, journal = contents(machine), tmp_path / "journal"
        words = [name(machine, door), "--root", hex(START), "--write", "--journal", str(journal)]
        done = CliRunner().invoke(edit, [*words, f"protect {BASE:#x} 8K r--u"], standalone_mode=False)
        assert "written: 2 words, and every CPU was told to forget what it kept" in done.output
        assert contents(machine) != before
        done = CliRunner().invoke(edit, ["--undo", str(journal)], standalone_mode=False)
        assert done.output == "2 words are as they were\n"
        assert contents(machine) == before

    @doors
    def test_many_are_forgotten_at_once(self, machine, door):
        with pw.source(name(machine, door), writable=True) as source, source.memory.paused():
            forget = source.memory.forget
            assert forget([(BASE, 4096), (BASE + M, 3 * 4096)]) == 4
            assert forget([(BASE, M)]) == forget([]) == 1

    @pytest.mark.parametrize("stop", [True, False])
    def test_held_anyway(self, machine, stop, tmp_path):
        """One that was opened to be held stays so until it is closed."""
        machine.monitor.ask("cont")
        with pw.source(name(machine, "qmp"), stop=stop, writable=True) as source:
            changed(source.tables(root=START)).commit(journal=tmp_path / "journal")
            assert machine.monitor.ask("query-status")["running"] is not stop
        assert machine.monitor.ask("query-status")["running"]

    def test_a_stub_for_the_moment(self, machine):
        """CPUs are told by a stub; where the machine has none, one is started, and ended."""
        machine.monitor.ask("human-monitor-command", **{"command-line": "gdbserver none"})
        with pw.source(name(machine, "qmp"), writable=True) as source:
            assert changed(source.tables(root=START)).commit().flushed == 3
        assert not any(one["label"] == "gdb" for one in machine.monitor.ask("query-chardev"))


class TestRefused:
    """Before anything is written, and before there is a journal."""

    def test_a_debugger_has_the_stub(self, machine, tmp_path):
        before, journal = contents(machine), tmp_path / "journal"
        other = Stub(machine.gdb, 10)
        with (
            pw.source(name(machine, "qmp"), writable=True) as source,
            pytest.raises(OSError, match="a debugger is attached to its gdb stub"),
        ):
            changed(source.tables(root=START)).commit(journal=journal)
        other.close()
        assert (contents(machine), journal.exists()) == (before, False)

    def test_ram_is_no_shared_file(self, tmp_path):
        with bare(tmp_path) as machine, pw.source(name(machine, "qmp")) as source:
            change = pw.edit(source.tables(root=START))
            with pytest.raises(pw.MemoryWriteError, match="SavedRam cannot be written"):
                change.commit()

    def test_told_while_it_runs(self, machine):
        with (
            pw.source(name(machine, "qmp"), writable=True) as source,
            pytest.raises(pw.UnsupportedError, match="only a machine that is paused"),
        ):
            source.memory.forget([])


class TestLost:
    """The old state or one that the journal brings back to it, and a line that says how."""

    @pytest.mark.parametrize("number", range(6))
    def test_the_connection(self, machine, number, monkeypatch, tmp_path):
        """Before each of the five writes, and before CPUs are told; the machine stands still from then on."""
        before, journal = contents(machine), tmp_path / "journal"
        machine.monitor.ask("cont")
        with monkeypatch.context() as patch, pw.source(name(machine, "gdb"), writable=True) as source:
            lost(patch, GdbStub, number, hang_up)
            with pytest.raises(pw.MemoryWriteError, match="hung up") as caught:
                changed(source.tables(root=START)).commit(journal=journal)
        (note,) = caught.value.__notes__
        assert f"written in part: pagewalk edit --recover {journal}" in note
        assert "\n" not in str(caught.value)
        assert Journal.load(journal).state == WRITING
        assert not machine.monitor.ask("query-status")["running"]
        assert (contents(machine) == before) == (number < 2)  # the first write makes the new table, elsewhere
        pw.recover(journal)
        assert contents(machine) == before
        assert Journal.load(journal).state == UNDONE

    @doors
    def test_the_machine(self, machine, door, monkeypatch, tmp_path):
        """QEMU is killed between two writes: the journal says where, and nobody answers there."""

        def kill(_):
            machine.process.kill()
            machine.process.wait()

        journal = tmp_path / "journal"
        with pw.source(name(machine, door), writable=True) as source:
            lost(monkeypatch, KINDS[door], 2, kill)
            with pytest.raises(pw.MemoryWriteError, match="hung up") as caught:
                changed(source.tables(root=START)).commit(journal=journal)
        assert f"pagewalk edit --recover {journal}" in caught.value.__notes__[0]
        with pytest.raises(OSError, match="refused"):
            pw.recover(journal)
        assert Journal.load(journal).state == WRITING

    @pytest.mark.parametrize("number", range(6))
    def test_while_it_is_undone(self, machine, number, monkeypatch, tmp_path):
        """And again while that is brought to an end."""
        before, journal = contents(machine), tmp_path / "journal"
        with pw.source(name(machine, "gdb"), writable=True) as source:
            changed(source.tables(root=START)).commit(journal=journal)
        assert Journal.load(journal).state == COMMITTED
        for take_back in (pw.undo, pw.recover):
            with monkeypatch.context() as patch:
                lost(patch, GdbStub, number, hang_up)
                with pytest.raises(pw.MemoryWriteError, match="hung up") as caught:
                    take_back(journal)
            assert f"pagewalk edit --recover {journal}" in caught.value.__notes__[0]
        pw.recover(journal)
        assert contents(machine) == before
