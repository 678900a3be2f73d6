"""Guests as they run: the same listing through every door as from the file that is their memory."""

from __future__ import annotations

import time

import pytest

import pagewalk as pw
from pagewalk.formats import from_registers
from pagewalk.memory.machines.qmp import SavedRam, SharedRam
from tests.conftest import skip_or_fail
from tests.real.boot import booted
from tests.real.machines import MACHINES
from tests.real.packages import NotToBeHad

pytestmark = [pytest.mark.real, pytest.mark.slow]

GUESTS = ("x86_64-6.12", "arm64-16k", "riscv64-sv39")
MOMENTS = 100
"""At most, until a guest's program runs."""
COLUMNS = ("vaddr", "paddr", "size", "page_size", "flags", "kind", "memory", "pkey", "swap_type", "swap_offset")


@pytest.fixture(scope="module", params=GUESTS)
def vm(request, tmp_path_factory):
    """A guest that stands still, its stub let go."""
    try:
        with booted(MACHINES[request.param], tmp_path_factory.mktemp("vm")) as one:
            one.stub.close()
            yield one
    except NotToBeHad as reason:
        skip_or_fail(f"{request.param} cannot be booted: {reason}")


@pytest.fixture
def private(vm):
    """The same guest, its memory's file out of reach."""
    away = vm.ram.rename(vm.ram.with_name("away"))
    yield vm
    away.rename(vm.ram)


def address(vm, door):
    """Where a door is."""
    return f"{door}:{vm.ram.with_name({'gdb': 'gdb', 'qmp': 'qmp2'}[door])}"


def still(vm):
    """The guest stopped again: one that is left by its stub runs."""
    vm.monitor.ask("stop")


def rows(tables):
    """A listing, column by column: rows have padding."""
    listed = pw.mappings(tables)
    return {name: listed[name].tobytes() for name in COLUMNS}, len(listed)


def roots(registers):
    """The windows that registers tell of, whatever the ASID."""
    return [window._replace(asid=None) for window in from_registers(registers).windows]


def from_file(vm, source):
    """The listing from the file, by the registers that a source gave."""
    base, os = vm.machine.architecture.base, vm.machine.os
    path = next(path for path in (vm.ram, vm.ram.with_name("away")) if path.exists())
    return rows(pw.open(path, registers=source.cpus[0], base=base, os=os))


class TestListing:
    """No root is said, and every row is that of the file."""

    def test_gdb(self, vm):
        with pw.source(address(vm, "gdb")) as source:
            tables = source.tables(os=vm.machine.os)
            assert (source.type, source.missing) == ("gdb", ())
            assert tables.format.name == vm.machine.format
            before = source.memory.journeys
            found = rows(tables)
            assert source.memory.journeys - before <= len(tables.format.levels)
            assert found == from_file(vm, source)
            assert found[1] > 100
        still(vm)

    def test_qmp(self, vm):
        with pw.source(address(vm, "qmp")) as source:
            assert isinstance(source.memory, SharedRam)
            assert (source.type, source.missing, source.notes) == ("qmp", (), ())
            assert rows(source.tables(os=vm.machine.os)) == from_file(vm, source)

    def test_qmp_without_a_file(self, private):
        with pw.source(address(private, "qmp")) as source:
            assert isinstance(source.memory, SavedRam)
            assert rows(source.tables(os=private.machine.os)) == from_file(private, source)

    def test_registers_are_those_of_the_stub(self, vm):
        """But for the ASID, which may be another by now; once the program runs: an isolated kernel has another root."""
        for _ in range(MOMENTS):
            with pw.source(address(vm, "qmp")) as source:
                found = {name: source.cpus[0][name] for name in vm.registers}
            if roots(found) == roots(vm.registers):
                break
            with vm.running():
                time.sleep(0.001)
        assert roots(found) == roots(vm.registers)
        rest = [name for name in vm.registers if not name.startswith("ttbr")]
        assert [found[name] for name in rest] == [vm.registers[name] for name in rest]

    def test_running(self, vm):
        """Held while it is read, and it goes on."""
        with vm.running():
            with pw.source(address(vm, "qmp"), stop=True) as source:
                assert rows(source.tables(os=vm.machine.os)) == from_file(vm, source)
                before = vm.ram.read_bytes()
                assert vm.ram.read_bytes() == before
            assert vm.monitor.ask("query-status")["running"]


class TestRead:
    """Bytes at virtual addresses are those that the guest's program wrote."""

    @pytest.mark.parametrize("door", ["gdb", "qmp"])
    def test_a_program(self, vm, door):
        from tests.real.obey import filled

        page = vm.truth.planted("holes")[2]
        with pw.source(address(vm, door)) as source:
            tables = source.tables(registers=vm.registers, os=vm.machine.os)
            assert int.from_bytes(pw.read(tables, page, 8), "little") == filled(page)
            with pytest.raises(pw.NotPresent, match=hex(page + vm.truth.page)):
                pw.read(tables, page, vm.truth.page + 1)
        still(vm)


class TestCost:
    """A listing asks for no more than the tables, each once, a level at a time."""

    def test_bytes(self, vm):
        with pw.source(address(vm, "gdb")) as source:
            asked = []
            read_many = source.memory.read_many

            def counted(paddrs, size):
                asked.append((list(paddrs), size))
                return read_many(paddrs, size)

            source.memory.read_many = counted
            tables = source.tables(os=vm.machine.os)
            asked.clear()
            begin = time.perf_counter()
            pw.mappings(tables)
            listing = time.perf_counter() - begin
            places = [(paddr, size) for paddrs, size in asked for paddr in paddrs]
            assert len(places) == len(set(places))
            begin = time.perf_counter()
            read_many([paddr for paddr, _ in places], max(size for _, size in places))
            once = time.perf_counter() - begin
            print(f"{vm.machine.name}: {len(places)} tables, {len(asked)} journeys, {listing / once:.2f} times")
        still(vm)
