"""QEMU's two doors, with a machine that has no guest: what they promise, what they cost, and how they end."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.memory import BadAnswer, Segment, blocks_of, extents_of, read_each
from pagewalk.memory.machines.gdb import GdbStub
from pagewalk.memory.machines.qmp import SavedRam, SharedRam, open_qmp
from pagewalk.testing import check_memory
from tests.conftest import skip_or_fail
from tests.real.bare import SIZE, bare
from tests.real.packages import NotToBeHad
from tests.world import M, World

pytestmark = pytest.mark.real

BASE = 0x4000_0000
LOW, HIGH = 0xC0000, 0x100000
RAM = ((0, LOW), (HIGH, SIZE))
"""Where a PC that has not begun yet shows no RAM, but its BIOS: a hole."""
SOON = 5.0
"""Seconds within which an end must be noticed that needs no waiting."""


@pytest.fixture
def machine(request, tmp_path):
    """A machine; a parameter says whether its RAM is a shared file."""
    try:
        with bare(tmp_path, shared=getattr(request, "param", False)) as one:
            yield one
    except NotToBeHad as reason:
        skip_or_fail(f"no machine: {reason}")


shared = pytest.mark.parametrize("machine", [True], indirect=True)
either = pytest.mark.parametrize("machine", [True, False], indirect=True, ids=["shared", "private"])


@pytest.fixture
def world():
    """Tables of four levels in 4 MiB: eight of the last one."""
    world = World(ram=4 * M)
    for at in range(0, 16 * M, 4096):
        world.map(BASE + at, at)
    return world.memory


@pytest.fixture
def planted(machine, world):
    """The machine with these tables at the start of its memory, as the stub writes them."""
    stub = GdbStub(str(machine.gdb), writable=True, resume=False)
    for start, end in ((0, LOW), (HIGH, 4 * M)):
        stub.write(start, world.read(start, end - start))
    stub.close()
    return machine


def running(machine):
    """Whether the CPUs run."""
    return machine.monitor.ask("query-status")["running"]


class TestPromises:
    """Every promise of a memory, as for any other."""

    def test_gdb(self, machine):
        memory = GdbStub(str(machine.gdb), writable=True)
        check_memory(memory, 0x100000, SIZE - 0x100000, writable=True, close=True)

    def test_gdb_read_only(self, machine):
        check_memory(GdbStub(str(machine.gdb)), 0x100000, SIZE - 0x100000, writable=False, close=True)

    @either
    def test_qmp(self, machine):
        memory = open_qmp(str(machine.qmp))
        assert isinstance(memory, SharedRam if machine.ram.exists() else SavedRam)
        check_memory(memory, 0x100000, SIZE - 0x100000, writable=False, close=True)

    @shared
    def test_qmp_writes_reach_the_machine(self, machine):
        with pw.source(f"qmp:{machine.qmp}", writable=True) as source:
            check_memory(source.memory, 0x100000, SIZE - 0x100000, writable=True)
            source.memory.write(0x200000, b"hello")
        assert GdbStub(str(machine.gdb)).read(0x200000, 5) == b"hello"

    def test_qmp_cannot_write_what_is_no_file(self, machine):
        with pytest.raises(pw.UnsupportedError, match=r"RAM is no shared file.*open its gdb stub"):
            pw.source(f"qmp:{machine.qmp}", writable=True)


class TestWhereMemoryIs:
    """RAM is where the machine says, and nothing else is asked for: a device's registers are not to be touched."""

    @either
    def test_the_same_through_each_door(self, machine):
        stub, qmp = GdbStub(str(machine.gdb)), open_qmp(str(machine.qmp))
        assert extents_of(stub).tolist() == extents_of(qmp).tolist() == [[0, LOW], [HIGH, SIZE]]
        assert stub.extent == qmp.extent == f"[0x0, {LOW:#x}), [{HIGH:#x}, {SIZE:#x})"
        for memory in (stub, qmp):
            with pytest.raises(pw.MemoryReadError, match=r"outside the memory, which has \[0x0"):
                memory.read(0xFEC00000, 4)
            assert read_each(memory, [0xFEC00000, 0x1000, SIZE - 8], 16)[::2] == [None, None]

    @either
    def test_in_passing(self, planted, world):
        for memory in (GdbStub(str(planted.gdb)), open_qmp(str(planted.qmp))):
            blocks = blocks_of(memory)
            for start, end in ((0, LOW), (HIGH, 2 * M), (2 * M, 4 * M)):
                paddr, data = next(blocks)
                assert (paddr, bytes(data)) == (start, world.read(start, end - start))

    def test_a_hole_below_four_gigabytes(self, tmp_path):
        """A machine that has more than 2 GiB, none of it touched: the map says where the rest went."""
        with bare(tmp_path, "-machine", "q35", "-m", "4G") as machine:
            for memory in (GdbStub(str(machine.gdb)), open_qmp(str(machine.qmp))):
                assert extents_of(memory).tolist() == [[0, LOW], [HIGH, 2 << 30], [4 << 30, 6 << 30]]
                assert memory.read((6 << 30) - 8, 8) == bytes(8)


class TestListing:
    """Each level is one journey, and the rows are those of the same bytes in a file."""

    @either
    def test_equal(self, planted, world):
        contents = world.read(0, 4 * M).ljust(SIZE, b"\0")
        there = pw.FlatMemory(Segment(start, memoryview(contents[start:end])) for start, end in RAM)
        there.holds_frames = True
        rows = pw.mappings(pw.PageTables(there, 0), BASE, BASE + 16 * M)
        for name in (f"qmp:{planted.qmp}", f"gdb:{planted.gdb}"):  # after the last one the machine runs
            with pw.source(name) as source:
                assert (pw.mappings(source.tables(root=0), BASE, BASE + 16 * M) == rows).all()

    def test_one_journey_a_level(self, planted):
        for memory in (GdbStub(str(planted.gdb)), open_qmp(str(planted.qmp))):
            tables = pw.PageTables(memory, 0)
            assert len(pw.mappings(tables, coalesce=False)) == 4096
            assert memory.journeys == 4
            pw.translate(tables, np.arange(BASE, BASE + 16 * M, 4096, dtype=np.uint64))
            assert memory.journeys == 8

    def test_read_is_one_journey_beside_the_tables(self, planted, world):
        memory = GdbStub(str(planted.gdb))
        data = pw.read(pw.PageTables(memory, 0), BASE + HIGH + 4096, 2 * M)
        assert data == world.read(HIGH + 4096, 2 * M)
        assert memory.journeys == 5


class TestHolding:
    """What ran goes on, and what stood still does, unless gdb's way is asked for."""

    @either
    def test_qmp_leaves_a_machine_as_it_is(self, machine):
        with pw.source(f"qmp:{machine.qmp}") as source:
            assert source.notes == ()
        assert not running(machine)
        machine.monitor.ask("cont")
        with pw.source(f"qmp:{machine.qmp}") as source:
            assert running(machine)
            assert source.notes[0].startswith("the machine runs while it is read")
        assert running(machine)

    @either
    def test_qmp_holds_it(self, machine):
        machine.monitor.ask("cont")
        with pw.source(f"qmp:{machine.qmp}", stop=True) as source:
            assert not running(machine)
            assert source.notes == ()
        assert running(machine)
        machine.monitor.ask("stop")
        pw.source(f"qmp:{machine.qmp}", stop=True).close()
        assert not running(machine)

    @pytest.mark.parametrize("door", ["gdb", "qmp"])
    def test_a_forgotten_one_lets_it_go_on(self, machine, door):
        machine.monitor.ask("cont")
        source = pw.source(f"{door}:{getattr(machine, door)}", stop=True)
        assert not running(machine)
        del source
        assert running(machine)

    def test_gdb(self, machine):
        machine.monitor.ask("cont")
        stub = GdbStub(str(machine.gdb))
        assert not running(machine)
        stub.close()
        assert running(machine)
        GdbStub(str(machine.gdb), resume=False).close()
        assert not running(machine)

    def test_an_earlier_debugger_leaves_nothing(self, machine):
        """One that asked for many processes, and for physical addresses."""
        machine.monitor.ask("cont")
        from tests.real.stub import Stub

        first = Stub(machine.gdb, 10)
        first.ask("qSupported:multiprocess+")
        first.close()
        GdbStub(str(machine.gdb)).close()
        assert running(machine)
        after = Stub(machine.gdb, 10)
        assert after.ask("qqemu.PhyMemMode") == "0"
        after.close()


class TestEnds:
    """A machine that ends, or stands still itself, is told in one line, soon, and once."""

    @staticmethod
    def ends(machine, memory, action):
        """A memory whose machine meets its end before the second journey."""
        asked, journeys = memory.read_many, []

        def read_many(paddrs, size):
            journeys.append(len(paddrs))
            if len(journeys) == 2:
                action(machine.process)
            return asked(paddrs, size)

        memory.read_many = read_many
        return memory

    @staticmethod
    def kill(process):
        process.kill()
        process.wait()

    @pytest.mark.parametrize("door", ["gdb", "qmp"])
    def test_killed_in_mid_listing(self, planted, door):
        memory = self.ends(planted, pw.source(f"{door}:{getattr(planted, door)}").memory, self.kill)
        before = time.monotonic()
        with pytest.raises(BadAnswer, match=r"cannot read .* at physical 0x[0-9a-f]+: .*it hung up") as caught:
            pw.mappings(pw.PageTables(memory, 0), findings=[])
        assert "\n" not in str(caught.value)
        with pytest.raises(BadAnswer, match="hung up"):
            memory.read(0x1000, 8)
        memory.close()
        assert time.monotonic() - before < SOON

    def test_stuck(self, planted):
        stub = GdbStub(str(planted.gdb), seconds=0.5)
        memory = self.ends(planted, stub, lambda process: os.kill(process.pid, signal.SIGSTOP))
        before = time.monotonic()
        with pytest.raises(BadAnswer, match=r"no answer within 0.5 s: QEMU is stuck"):
            pw.mappings(pw.PageTables(memory, 0), findings=[])
        memory.close()
        assert time.monotonic() - before < SOON

    def test_of_the_command(self, planted, monkeypatch):
        from click.testing import CliRunner

        from pagewalk.cli.status import finish
        from pagewalk.cli.vtop import vtop

        asked = GdbStub.read

        def read(memory, paddr, size):
            planted.process.kill()
            planted.process.wait()
            return asked(memory, paddr, size)

        monkeypatch.setattr(GdbStub, "read", read)
        done = CliRunner().invoke(vtop, [f"gdb:{planted.gdb}", "--root", "0", hex(BASE)])
        assert isinstance(done.exception, BadAnswer)
        assert finish(lambda: (_ for _ in ()).throw(done.exception)) == 3

    def test_another_debugger_is_attached(self, machine):
        first = GdbStub(str(machine.gdb))
        with pytest.raises(TimeoutError, match=r"no answer within 0.5 s: start QEMU with -gdb .* no other debugger"):
            GdbStub(str(machine.gdb), seconds=0.5)
        first.close()

    def test_the_other_door(self, machine):
        with pytest.raises(pw.ImageFormatError, match=r"is no gdb stub: .*begins with"):
            GdbStub(str(machine.qmp))
        with pytest.raises(TimeoutError, match="start QEMU with -qmp"):
            open_qmp(str(machine.gdb), seconds=0.5)


class TestRegisters:
    """Each CPU's, the same through each door."""

    @pytest.mark.parametrize(
        ("emulator", "words"),
        [
            ("qemu-system-x86_64", ()),
            ("qemu-system-aarch64", ("-machine", "virt", "-cpu", "cortex-a72")),
            ("qemu-system-riscv64", ("-machine", "virt", "-bios", "none")),
        ],
    )
    def test_of_two(self, tmp_path, emulator, words):
        with bare(tmp_path, "-smp", "2", *words, emulator=emulator) as machine:
            stub = GdbStub(str(machine.gdb), resume=False)
            cpus = stub.cpus
            stub.close()
            qmp = open_qmp(str(machine.qmp))
            assert len(cpus) == len(qmp.cpus) == 2
            assert {"cr0", "cr3", "ttbr0_el1", "tcr_el1", "satp"} & cpus[0].keys()
            for one, other in zip(cpus, qmp.cpus, strict=True):
                assert {name: one[name] for name in other if name in one} == other
            assert not running(machine)

    def test_arm64_without_a_stub(self, tmp_path):
        """One is started for the moment; it is gone afterwards, and the machine as it was."""
        with bare(tmp_path, "-machine", "virt", "-cpu", "cortex-a72", emulator="qemu-system-aarch64") as machine:
            machine.monitor.ask("human-monitor-command", **{"command-line": "gdbserver none"})
            for _ in range(2):
                assert "ttbr1_el1" in open_qmp(str(machine.qmp)).cpus[0]
            doors = machine.monitor.ask("query-chardev")
            assert [door["label"] for door in doors if door["label"] == "gdb"] == []
            assert not running(machine)
