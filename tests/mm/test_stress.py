"""Every call at once: drawn at random, by threads that are interrupted, on processes that end meanwhile."""

import ctypes
import gc
import random
import threading
from contextlib import contextmanager, nullcontext

import pytest

from pagewalk.errors import PagewalkError
from pagewalk.mm import File, Machine, Mm
from pagewalk.mm.hardware.pool import FramePool
from pagewalk.mm.hardware.swap import SwapDevice
from pagewalk.mm.state.tables import MmTables
from pagewalk.space import Mapping, VmaList
from tests.mm.chaos import CALLS, OFTEN, Draw, begin
from tests.mm.fuzz import Tank
from tests.mm.sizes import BLOCK
from tests.mm.test_threads import often, together  # noqa: F401 - a fixture for all that is here

MIB = 1 << 20


class Unlocked(BaseException):
    """Something was done without the lock that it needs."""


def checking(function, is_held):
    """A function that is refused where the lock is not held."""

    def run(*args, **options):
        if not is_held():
            raise Unlocked(function.__name__)
        return function(*args, **options)

    return run


class Interrupted(BaseException):
    """What the stress test's threads are interrupted by."""


class TestStress:
    """Every call, drawn at random by four threads: on processes that fork and exit, on files that lose their pages."""

    def test_every_call_is_drawn(self):
        public = {
            name
            for kind in (Mm, Machine, File)
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }
        assert public - HELPERS - {name.removeprefix("file.") for name in CALLS} == set()

    @pytest.mark.parametrize("seed", range(3))
    def test_every_call_takes_its_locks(self, seed, monkeypatch):
        """As lockdep does: one thread is enough to see that a lock is missing."""
        tank = Tank(Machine(24 * MIB, thp=("always", "madvise", "never")[seed], swap=MIB, hugetlb={BLOCK: 3}))
        begin(tank)
        checked = {
            FramePool: ("take_many", "take_block", "hold", "drop"),
            SwapDevice: ("enter", "store", "fetch", "leave", "hold", "drop"),
            Mapping: ("add", "remove", "overlapping"),
            MmTables: ("deposit", "withdraw", "split", "grow"),
        }
        for kind, names in checked.items():
            for name in names:
                monkeypatch.setattr(kind, name, checking(getattr(kind, name), tank.machine.lock._is_owned))
        for name in ("find", "at", "before", "overlapping", "add", "remove"):
            held = lambda: any(mm.mmap_lock.held or mm.mmap_lock.gate.held for mm in tank.mms)  # noqa: E731
            inside = lambda held=held: held() or tank.machine.lock._is_owned()  # noqa: E731
            monkeypatch.setattr(VmaList, name, checking(getattr(VmaList, name), inside))
        draw = Draw(random.Random(seed), tank)
        for name in [*CALLS, *draw.rng.choices(OFTEN, k=150)]:
            try:
                CALLS[name](draw)
            except PagewalkError:
                continue
            except Unlocked as error:
                raise AssertionError(f"{name} calls {error} without its lock") from error
        monkeypatch.undo()
        tank.mms = [mm for mm in tank.mms if mm.alive]
        tank.check()
        tank.empty()

    @pytest.mark.parametrize("seed", range(6))
    def test_the_books_are_right_afterwards(self, seed):
        self.run(seed, interrupted=False)

    @pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <function WeakSet:pytest.PytestUnraisableExceptionWarning"
    )
    @pytest.mark.parametrize("seed", range(100, 104))
    def test_and_so_they_are_with_interruptions(self, seed):
        """What hits a callback of a weak reference is lost, by Python's own rule."""
        self.run(seed, interrupted=True)

    def run(self, seed, *, interrupted):
        tank = Tank(Machine(24 * MIB, thp=("always", "madvise", "never")[seed % 3], swap=MIB, hugetlb={BLOCK: 3}))
        tank.machine.spaces = set()  # those too that nobody got hold of
        begin(tank)
        workers = [Worker(tank, seed * 100 + number) for number in range(4)]
        with disturbed(workers) if interrupted else nullcontext():
            together(*workers)
        tank.mms = [mm for mm in tank.machine.spaces if mm.alive]
        tank.check()
        tank.empty()


HELPERS = {"do", "hand_out", "take_huge_zero", "drop_huge_zero", "set_users_of_huge_zero"}
HELPERS |= {f"uffdio_{name}" for name in ("copy", "zeropage", "move", "continue", "poison")}  # refused by name
HELPERS |= {
    "reserve_hugetlb",
    "take_hugetlb",
    "drop_hugetlb",
    "lose_hugetlb",
    "set_promised",
    "mm",
    "file",
    "is_poisoned",
}
HELPERS |= {"area_at", "as_area", "new_vma_lock", "table_lock", "update_mmu_cache", "update_mmu_cache_range", "log"}
HELPERS |= {
    "page_flags",
    "page_entry",
    "zero_entry_for",
    "take_frame",
    "fetch_swapped",
    "check_cut",
    "block_entry",
    "split_huge_at",
}
HELPERS |= {"recount", "refuse_sealed", "protects_later"}
HELPERS |= {"writing", "reading", "frame", "hold", "hold_cached", "has", "let_go", "discard", "cut", "reclaim"}
HELPERS |= {
    "zero_edges",
    "promised",
    "page_count",
    "paddrs",
    "block_at",
    "set_dirty",
    "join",
    "split",
    "bring_in",
    "wants_block",
}
"""What is public for the modules of the model only."""


class Worker:
    """A thread's share of the stress test.

    Attributes:
        ready: It is inside a call and has got over the last interruption.
    """

    def __init__(self, tank, seed):
        self.draw = Draw(random.Random(seed), tank)
        self.left = 40
        self.thread = None
        self.ready = False
        self.lock = threading.Lock()

    def __call__(self):
        self.thread = threading.get_ident()
        while self.left:
            try:
                self.work()
            except Interrupted:
                continue

    def work(self):
        while self.left:
            self.left -= 1
            try:
                self.ready = True
                CALLS[self.draw.rng.choice(OFTEN)](self.draw)
            except PagewalkError:
                continue
            finally:
                with self.lock:  # from here on nothing more is on its way
                    self.ready = False

    def interrupt(self):
        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        with self.lock:
            if self.ready:
                self.ready = False
                raise_in(ctypes.c_ulong(self.thread), ctypes.py_object(Interrupted))


@contextmanager
def disturbed(workers):
    """Interrupt threads in the middle of what they do, one at a time, as Ctrl-C does to the main thread."""
    over = threading.Event()

    def disturb():
        rng = random.Random(0)
        while not over.is_set():
            worker = rng.choice(workers)
            if rng.random() < 0.02:
                worker.interrupt()

    thread = threading.Thread(target=disturb)
    gc.disable()  # what hits a callback of the collector, such as Hypothesis's, is printed and lost
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.enable()
