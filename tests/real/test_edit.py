"""Running guests whose tables are edited: what their CPUs then read, which faults they take, and what the kernel logs.

A guest's program has a thread on each CPU, which reads and writes what it is told to. Frames are those of pages that it
has and has locked, so what is in them is known, and nobody moves them.
"""

from __future__ import annotations

import signal
import time

import pytest

import pagewalk as pw
from pagewalk.memory.machines.gdb import GdbStub
from pagewalk.memory.machines.qmp import SharedRam
from tests.conftest import skip_or_fail
from tests.real.boot import READY, booted
from tests.real.laboratory import COMPLAINT, SOCKETS, Laboratory, faults
from tests.real.machines import EDITED
from tests.real.obey import READ, WRITE, filled
from tests.real.packages import NotToBeHad

pytestmark = [pytest.mark.real, pytest.mark.slow]

SIGNAL = signal.SIGSEGV
NOWHERE = 1 << 38
"""A physical address where no guest has memory."""
doors = pytest.mark.parametrize("door", ["gdb", "qmp"])


@pytest.fixture(scope="module", params=EDITED)
def lab(request, tmp_path_factory):
    """A guest that stands still, its stub let go."""
    try:
        with booted(EDITED[request.param], tmp_path_factory.mktemp("vm")) as vm:
            vm.stub.close()
            vm.monitor.ask("stop")
            yield Laboratory(vm, tmp_path_factory.mktemp("journals"))
    except NotToBeHad as reason:
        skip_or_fail(f"{request.param} cannot be booted: {reason}")


def withhold(patch):
    """Have machines told to forget nothing."""
    for kind in (GdbStub, SharedRam):
        patch.delattr(kind, "forget")
    return patch


@pytest.fixture
def withheld(monkeypatch):
    """Machines that are told to forget nothing."""
    return withhold(monkeypatch)


def tries():
    """Enough of them, for what a CPU may do or not; a machine that has much else to do is slow.

    Raises:
        TimeoutError: It never does.
    """
    end = time.monotonic() + READY
    while time.monotonic() < end:
        yield
    raise TimeoutError("no CPU shows what it kept")


def keeps_absent(change):
    """Whether a CPU of this kind may keep that nothing was there."""
    return change.tables.format.invalidation.keeps_absent


class TestEmptySlot:
    """A frame in an empty entry: the guest reads it, and takes no fault for it."""

    @doors
    def test_a_frame(self, lab, door):
        page, frame, journal = lab.holes[1], lab.frames[0], lab.journal()
        with lab.change(door) as change:
            change.install(page, lab.frame(frame), lab.page, "rw-u")
            assert bool(change.plan().flushes) == keeps_absent(change)
            done = change.commit(journal=journal)
            assert (done.words, done.flushed) == (1, int(keeps_absent(change)))
        for hand in lab.hands:
            assert faults(hand, lambda hand=hand: hand.read(page)) == ((filled(frame), 0, 0), 0)
        written, taken = faults(lab.hands[-1], lambda: lab.hands[-1].write(page, 7))
        assert (written.signal, taken, lab.hands[0].read(frame).result) == (0, 0, 7)
        lab.hands[-1].write(frame, filled(frame))
        lab.undo(journal)
        assert lab.kind(page) is pw.Kind.NONE
        assert faults(lab.hands[0], lambda: lab.hands[0].read(page)) == ((0, 0, 0), 1)  # the kernel's zeros
        assert lab.hands[0].madvise(page, lab.page, pw.MADV_DONTNEED) == (0, 0, 0)

    @doors
    def test_it_goes_on(self, lab, door):
        """A machine that runs is held for the moment, and runs again."""
        page, frame, journal = lab.holes[3], lab.frames[1], lab.journal()
        with lab.vm.running():
            with pw.source(lab.address(door), writable=True) as source:
                tables = source.tables(registers=lab.vm.registers, os=lab.vm.machine.os)
                with pw.edit(tables) as change:
                    change.install(page, lab.frame(frame), lab.page, "r--u")
                    change.commit(journal=journal)
            assert lab.vm.monitor.ask("query-status")["running"]
        assert lab.hands[0].read(page) == (filled(frame), 0, 0)
        with lab.vm.running():
            pw.undo(journal)
            assert lab.vm.monitor.ask("query-status")["running"]
        assert lab.kind(page) is pw.Kind.NONE

    def test_one_that_the_cpu_marks(self, lab):
        """An entry that does not say accessed is another one when it was touched: undo refuses, a change does not."""
        page, frame, journal = lab.holes[7], lab.frames[5], lab.journal()
        with lab.change("gdb") as change:
            change.install(page, lab.frame(frame), lab.page, "r--u", state=pw.Flag(0))
            change.commit(journal=journal)
        assert lab.hands[-1].read(page) == (filled(frame), 0, 0)
        with pytest.raises(pw.Conflict, match="something else has changed it"):
            pw.undo(journal)
        lab.vm.monitor.ask("stop")
        with lab.change("gdb") as change:
            change.unmap(page, lab.page)
            change.commit()
        assert faults(lab.hands[-1], lambda: lab.hands[-1].read(page)) == ((0, 0, 0), 1)


class TestTables:
    """Tables out of frames that are donated."""

    def far(self, lab):
        """An address that no table below the top one translates, in no area."""
        tables = lab.vm.tables()
        window = tables.windows[0]
        tops = range(window.start, window.end, tables.format.levels_of(window)[0].span)
        return next(at + 5 * lab.page for at in tops[1:] if len(list(tables.steps(at))) == 1)

    def test_where_no_area_is(self, lab):
        """Every table below the root; under PTI below both roots, whichever the tables were opened by.

        The threads have looked there before, and nobody is told to forget that nothing was there: under QEMU no CPU
        keeps that, RISC-V's neither, though it may.
        """
        for registers in lab.roots():
            with pytest.MonkeyPatch.context() as patch:
                self.where_no_area_is(lab, registers, withhold(patch))

    def where_no_area_is(self, lab, registers, withheld):
        page, frame, journal = self.far(lab), lab.frames[2], lab.journal()
        assert [hand.read(page).signal for hand in lab.hands] == [SIGNAL for _ in lab.hands]
        assert not lab.hands[0].is_read_by_the_kernel(page)
        with lab.change("gdb", *lab.frames[8:12], registers=registers) as change:
            change.install(page, lab.frame(frame), lab.page, "rw-u")
            plan = change.plan()
            assert len(plan.added) == len(change.tables.format.hardware) - 1
            assert bool(plan.twin) == (len(lab.roots()) == 2)
            assert change.commit(journal=journal).flushed == 0
        for hand in lab.hands:
            assert faults(hand, lambda hand=hand: hand.read(page)) == ((filled(frame), 0, 0), 0)
            assert hand.is_read_by_the_kernel(page)
        withheld.undo()
        lab.undo(journal)
        assert [hand.read(page).signal for hand in lab.hands] == [SIGNAL for _ in lab.hands]
        assert [lab.hands[0].read(frame).result for frame in lab.frames] == [filled(frame) for frame in lab.frames]

    @doors
    def test_a_neighbour(self, lab, door):
        """The kernel puts a page into a table that is not its own; while it is there, nothing is taken back."""
        frame, table, journal = lab.frames[3], lab.frames[12], lab.journal()
        block = list(SOCKETS).index(door) * len(lab.empty) // len(SOCKETS)
        page, neighbour = lab.empty[block : block + 2]
        with lab.change(door, table) as change:
            change.install(page, lab.frame(frame), lab.page, "rw-u")
            assert [one.paddr for one in change.plan().added] == [lab.frame(table)]
            change.commit(journal=journal)
        hand = lab.hands[-1]
        assert faults(hand, lambda: hand.read(page)) == ((filled(frame), 0, 0), 0)
        written, taken = faults(hand, lambda: hand.write(neighbour, 5))
        assert (written.signal, taken, lab.hands[0].read(neighbour).result) == (0, 1, 5)
        *_, entry = lab.vm.tables().steps(neighbour)
        assert entry.table.paddr == lab.frame(table)
        assert lab.kind(neighbour) is pw.Kind.PRESENT
        with pytest.raises(pw.Conflict, match=f"{lab.frame(table) >> 12:#x}[0-9a-f]{{3}} is .* and not 0x0"):
            pw.undo(journal)
        lab.vm.monitor.ask("stop")
        assert hand.madvise(neighbour, lab.page, pw.MADV_DONTNEED) == (0, 0, 0)
        lab.undo(journal)
        assert lab.hands[0].read(table).result == filled(table)
        assert faults(hand, lambda: hand.read(page)) == ((0, 0, 0), 1)


class TestGuard:
    @doors
    def test_set_and_cleared(self, lab, door):
        page, journals = lab.holes[5], (lab.journal(), lab.journal())
        with lab.change(door) as change:
            change.guard(page, lab.page)
            change.commit(journal=journals[0])
        assert lab.kind(page) is pw.Kind.GUARD
        assert [hand.read(page).signal for hand in lab.hands] == [SIGNAL for _ in lab.hands]
        with lab.change(door) as change:
            change.unguard(page, lab.page)
            change.commit(journal=journals[1])
        for hand in lab.hands:
            assert hand.write(page, 3).signal == 0
        assert lab.hands[0].madvise(page, lab.page, pw.MADV_DONTNEED) == (0, 0, 0)
        lab.undo(journals[1])
        assert [hand.write(page, 1).signal for hand in lab.hands] == [SIGNAL for _ in lab.hands]
        lab.undo(journals[0])
        assert lab.kind(page) is pw.Kind.NONE


class TestPresent:
    """An entry that is there: CPUs go on with what they know of it until they are told to forget."""

    @doors
    def test_a_guard_over_a_page(self, lab, door):
        page, journal = lab.holes[2], lab.journal()
        for hand in lab.hands:
            hand.watch(page)
        with lab.change(door) as change:
            change.unmap(page, lab.page)
            change.guard(page, lab.page)
            plan = change.plan()
            assert [(flush.vaddr, flush.size) for flush in plan.flushes] == [(page, lab.page)]
            assert set(plan.cpus) <= set(range(len(lab.hands)))  # but for one that runs another task just now
            assert change.commit(journal=journal).flushed == 1
        assert [hand.read(page).signal for hand in lab.hands] == [SIGNAL for _ in lab.hands]
        lab.undo(journal)
        for hand in lab.hands:
            assert faults(hand, lambda hand=hand: hand.read(page)) == ((filled(page), 0, 0), 0)

    @doors
    def test_a_right_less(self, lab, door):
        """The guest faults once, and its kernel mends what its area allows; what was changed since is not undone."""
        page, journal, hand = lab.holes[4], lab.journal(), lab.hands[-1]
        hand.watch(page)
        with lab.change(door) as change:
            change.protect(page, lab.page, "r--u")
            change.commit(journal=journal)
        assert faults(hand, lambda: hand.read(page)) == ((filled(page), 0, 0), 0)
        written, taken = faults(hand, lambda: hand.write(page, filled(page)))
        assert (written.signal, taken) == (0, 1)
        with pytest.raises(pw.Conflict, match="something else has changed it since it was written"):
            pw.undo(journal)
        lab.vm.monitor.ask("stop")

    @pytest.mark.parametrize("door", ["gdb", "qmp"])
    def test_another_frame(self, lab, door, withheld):
        """Not told, every CPU shows what was there before, at least once; told, none does.

        A CPU may forget by itself: its kernel has let another task run, or under PTI has run itself.
        """
        page, frame, stale = lab.holes[6], lab.frames[4], set()
        for _ in tries():
            stale |= self.seen(lab, door, page, frame, filled(page))
            if len(stale) == len(lab.hands):
                break
        withheld.undo()
        assert not set().union(*(self.seen(lab, door, page, frame, filled(page)) for _ in range(5)))

    def seen(self, lab, door, page, frame, value):
        """Which threads read a value, first thing after a page got another frame."""
        journal = lab.journal()
        for hand in lab.hands:
            hand.watch(page)
        with lab.change(door) as change:
            change.remap(page, lab.frame(frame), lab.page)
            change.commit(journal=journal)
            for hand in lab.hands:
                hand.give(READ, page)
        answers = [hand.answer() for hand in lab.hands]
        assert all(answer.result in (filled(page), filled(frame)) for answer in answers)
        lab.undo(journal)
        self.forget(lab, page)
        return {number for number, answer in enumerate(answers) if answer.result == value}

    def forget(self, lab, page):
        """Have all CPUs forget, whatever is withheld."""
        from tests.real.stub import Stub

        stub = Stub(lab.vm.ram.with_name("gdb"), 30)
        stub.forget(page)
        stub.close()
        lab.vm.monitor.ask("stop")

    def test_a_right_that_is_kept(self, lab, withheld):
        """Not told, a CPU writes where its tables say that it must not."""
        page, hand = lab.holes[8], lab.hands[-1]
        for _ in tries():
            journal, before = lab.journal(), hand.faults()
            hand.write(page, 1)
            hand.watch(page)
            with lab.change("gdb") as change:
                change.protect(page, lab.page, "r--u")
                change.commit(journal=journal)
                hand.give(WRITE, page, 8, filled(page))
            assert hand.answer().signal == 0
            if hand.faults() == before:
                lab.undo(journal)
                return


class TestLog:
    """What the kernel has to say when the program has ended, and its tables and pages are given back."""

    def test_nothing(self, lab):
        assert [line for line in lab.log() if COMPLAINT.search(line)] == []

    def test_a_change_that_is_not_undone(self, lab):
        """It is told: of a frame that the kernel knows nothing of, which harms nobody. So silence says something."""
        lab.again()
        with lab.change("gdb") as change:
            change.install(lab.holes[1], NOWHERE, lab.page, "rw-u")
            change.commit()
        assert any("Bad page map" in line for line in lab.log())
