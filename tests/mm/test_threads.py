"""Several threads on one address space: faults, guards, forks and walks at once. Bounded, and nobody sleeps.

A lost race shows in the books: a frame that is named more or less often than it is held.
"""

import sys
import threading
from contextlib import contextmanager

import pytest

import pagewalk as pw
from pagewalk import abi
from pagewalk.errors import MemoryFault, OutOfFrames, SystemCallError, WalkError
from pagewalk.formats import Kind
from tests.mm.sizes import BLOCK, PAGE

MIB = 1 << 20
RW = abi.PROT_READ | abi.PROT_WRITE
PRIVATE = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
ROUNDS = 60


@pytest.fixture(autouse=True)
def often():
    """Let threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*works):
    """Run functions in threads of their own, begun at once; whatever one raises is raised here."""
    start, failures = threading.Barrier(len(works)), []

    def run(work):
        start.wait()
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def repeat(work, rounds=ROUNDS):
    """The work many times; a refused access is no failure."""

    def run():
        for number in range(rounds):
            try:
                work(number)
            except (MemoryFault, SystemCallError, OutOfFrames):
                continue

    return run


@contextmanager
def forked(mm):
    child = mm.fork()
    try:
        yield child
    finally:
        child.exit()


class TestFaults:
    def test_one_frame_a_page(self, new_tank):
        """Two threads that touch the same page get the same page."""
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(512 * PAGE, RW, addr=BLOCK * 64)
        together(*[repeat(lambda n: mm.write(at + n * 8 * PAGE, b"x" * 8 * PAGE)) for _ in range(4)])
        assert tank.machine.usage()["anon"] == ROUNDS * 8 * PAGE

    def test_one_page_a_file(self, new_tank):
        """Processes that share a file share its pages."""
        tank = new_tank()
        file = tank.file(size=ROUNDS * PAGE)
        mms = [tank.mm() for _ in range(4)]
        at = [mm.mmap(ROUNDS * PAGE, RW, abi.MAP_SHARED, file=file) for mm in mms]
        together(*[repeat(lambda n, i=i: mms[i].write(at[i] + n * PAGE, b"x")) for i in range(4)])
        assert tank.machine.usage()["file"] == ROUNDS * PAGE

    def test_one_huge_page(self, new_tank):
        tank = new_tank(64 * MIB, thp="always")
        mm = tank.mm()
        at = mm.mmap(8 * BLOCK, RW, addr=BLOCK * 64)
        together(*[repeat(lambda n: mm.write(at + n % 8 * BLOCK, b"x"), 16) for _ in range(4)])
        assert tank.machine.usage()["anon"] == 8 * BLOCK

    def test_one_hugetlb_page(self, new_tank):
        tank = new_tank(64 * MIB, hugetlb={BLOCK: 8})
        mm = tank.mm()
        at = mm.mmap(8 * BLOCK, RW, PRIVATE | abi.MAP_HUGETLB)
        together(*[repeat(lambda n: mm.write(at + n % 8 * BLOCK, b"x"), 16) for _ in range(4)])
        assert not tank.machine.hugetlb[BLOCK]

    def test_copy_on_write_in_parent_and_child(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(ROUNDS * PAGE, RW)
        mm.write(at, b"o" * ROUNDS * PAGE)
        child = tank.fork(mm)
        together(
            repeat(lambda n: mm.write(at + n * PAGE, b"parent")),
            repeat(lambda n: mm.read(at + n * PAGE, 1)),
            repeat(lambda n: child.write(at + n * PAGE, b"child")),
        )
        assert {mm.read(at + n * PAGE, 7) for n in range(ROUNDS)} == {b"parento"}
        assert {child.read(at + n * PAGE, 6) for n in range(ROUNDS)} == {b"childo"}

    def test_swap_slots_shared_by_a_fork(self, new_tank):
        tank = new_tank(swap=MIB)
        mm = tank.mm()
        at = mm.mmap(ROUNDS * PAGE, RW)
        mm.write(at, b"s" * ROUNDS * PAGE)
        mm.madvise(at, ROUNDS * PAGE, abi.MADV_PAGEOUT)
        child = tank.fork(mm)
        together(*[repeat(lambda n, mm=mm: mm.write(at + n * PAGE, b"w")) for mm in (mm, child, mm, child)])
        assert tank.machine.swap.used == 0
        assert child.read(at + 5 * PAGE, 2) == b"ws"


class TestEverythingAtOnce:
    @pytest.mark.parametrize("thp", ["never", "always"])
    def test_nothing_is_lost(self, new_tank, thp):
        tank = new_tank(96 * MIB, thp=thp)
        mm = tank.mm()
        at = mm.mmap(4 * BLOCK, RW, PRIVATE | abi.MAP_FIXED, addr=BLOCK * 64)
        seen = set()

        def walk(number):
            def pte_entry(entry, addr, next_, walk):
                value = entry.value
                seen.add(Kind(mm.format.kind(value)))
                assert not mm.format.is_valid(value) or entry.level.frame(value) < 96 * MIB

            def pmd_entry(entry, addr, next_, walk):
                if entry.is_leaf:
                    walk.action = pw.Action.CONTINUE

            with mm.mmap_lock.read():
                pw.walk_page_range(mm, at, at + 4 * BLOCK, pw.WalkOps(pmd_entry=pmd_entry, pte_entry=pte_entry))

        def fork(number):
            with forked(mm) as child:
                child.write(at + number % 4 * BLOCK, b"child")

        def page(number):
            return at + number % 4 * BLOCK + number * 7 % 512 * PAGE

        together(
            repeat(lambda n: mm.write(page(n), b"x" * 3 * PAGE)),
            repeat(lambda n: mm.read(page(n + 1), 3 * PAGE)),
            repeat(lambda n: mm.madvise(page(n), 5 * PAGE, abi.MADV_GUARD_INSTALL)),
            repeat(lambda n: mm.madvise(page(n - 3), 5 * PAGE, abi.MADV_GUARD_REMOVE)),
            repeat(lambda n: mm.madvise(at + n % 4 * BLOCK, BLOCK, abi.MADV_DONTNEED)),
            repeat(fork, ROUNDS // 6),
            repeat(walk, ROUNDS // 12),
        )
        assert seen <= {Kind.NONE, Kind.PRESENT, Kind.GUARD}
        tank.check()

    def test_guards_in_bulk(self, new_tank):
        """Ranges so large that guards are installed by the array, several tables locked at once."""
        tank = new_tank(96 * MIB)
        mm = tank.mm()
        at, size = mm.mmap(12 * BLOCK, RW, PRIVATE | abi.MAP_FIXED, addr=BLOCK * 64), 8 * BLOCK

        def page(number):
            return at + number % 12 * BLOCK + number * 7 % 512 * PAGE

        together(
            repeat(lambda n: mm.madvise(at, size, abi.MADV_GUARD_INSTALL), ROUNDS // 3),
            repeat(lambda n: mm.madvise(at + 4 * BLOCK, size, abi.MADV_GUARD_INSTALL), ROUNDS // 3),
            repeat(lambda n: mm.madvise(page(n), 5 * PAGE, abi.MADV_GUARD_REMOVE)),
            repeat(lambda n: mm.write(page(n), b"x" * 3 * PAGE)),
            repeat(lambda n: mm.madvise(page(n), PAGE, abi.MADV_DONTNEED)),
        )
        tank.check()
        mm.madvise(at, 12 * BLOCK, abi.MADV_GUARD_INSTALL)
        assert set(pw.mappings(mm, at, at + 12 * BLOCK)["kind"].tolist()) == {Kind.GUARD}
        assert tank.machine.usage()["anon"] == 0

    def test_what_is_written_is_in_ones_own_pages(self, new_tank):
        """A guard takes pages away under a writer's hands; the bytes end up nowhere else."""
        tank = new_tank(4 * MIB)
        mm, other = tank.mm(), tank.mm()
        at = mm.mmap(64 * PAGE, RW)
        far = other.mmap(64 * PAGE, RW)

        def guard(number):
            mm.madvise(at, 64 * PAGE, abi.MADV_GUARD_INSTALL)
            mm.madvise(at, 64 * PAGE, abi.MADV_GUARD_REMOVE)

        def reuse(number):
            other.touch(far, 64 * PAGE)
            assert other.read(far, 64 * PAGE) == bytes(64 * PAGE)
            other.madvise(far, 64 * PAGE, abi.MADV_DONTNEED)

        together(repeat(lambda n: mm.write(at, b"!" * 64 * PAGE)), repeat(guard), repeat(reuse))

    def test_a_file_loses_pages_while_they_are_touched(self, new_tank):
        tank = new_tank()
        file = tank.file(size=32 * PAGE)
        mm = tank.mm()
        at = mm.mmap(32 * PAGE, RW, abi.MAP_SHARED, file=file)
        together(
            repeat(lambda n: mm.touch(at, 32 * PAGE)),
            repeat(lambda n: mm.touch(at, 32 * PAGE, "read")),
            repeat(lambda n: tank.machine.punch_hole(file, n % 8 * PAGE, 24 * PAGE)),
        )


class TestFiles:
    """What a file's mappings have in common: its pages, and the list of them."""

    @pytest.mark.parametrize("lose", ["truncate", "punch_hole"])
    def test_against_mmap_and_munmap(self, new_tank, lose):
        tank = new_tank()
        file, mms = tank.file(size=8 * PAGE), [tank.mm() for _ in range(3)]

        def lose_pages(number):
            if lose == "truncate":
                tank.machine.truncate(file, number % 8 * PAGE)
            else:
                tank.machine.punch_hole(file, 0, 8 * PAGE)

        def map_again(mm):
            at = mm.mmap(8 * PAGE, RW, abi.MAP_SHARED, file=file)
            mm.touch(at, 8 * PAGE, "read")
            mm.munmap(at, 8 * PAGE)

        together(repeat(lose_pages), *[repeat(lambda n, mm=mm: map_again(mm)) for mm in mms])
        assert not [vma for vma in file.vmas if vma.mm is None]

    def test_a_walk_of_its_mappings(self, new_tank):
        """``walk_page_mapping`` holds the lock of the file: what it walks stays."""
        tank = new_tank()
        file, mms = tank.file(contents=b"f" * 8 * PAGE), [tank.mm() for _ in range(2)]
        looked = []

        def walk(number):
            ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: looked.append(walk.vma.mm is None))
            pw.walk_page_mapping(file, 0, 8, ops)

        def map_again(mm):
            at = mm.mmap(8 * PAGE, RW, abi.MAP_SHARED, file=file)
            mm.touch(at, 8 * PAGE)
            mm.munmap(at, 8 * PAGE)

        together(repeat(walk), *[repeat(lambda n, mm=mm: map_again(mm)) for mm in mms])
        assert not any(looked)


class TestExit:
    """After ``exit`` every call is refused; it waits for those inside."""

    def test_every_call_is_refused(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(PAGE, RW)
        mm.exit()
        tank.mms.remove(mm)
        calls = [
            lambda: mm.mmap(PAGE, RW),
            lambda: mm.munmap(at, PAGE),
            lambda: mm.mprotect(at, PAGE, RW),
            lambda: mm.mremap(at, PAGE, 2 * PAGE),
            lambda: mm.mlock(at, PAGE),
            lambda: mm.munlock(at, PAGE),
            lambda: mm.madvise(at, PAGE, abi.MADV_DONTNEED),
            lambda: mm.madvise(at, PAGE, abi.MADV_GUARD_INSTALL),
            lambda: mm.process_madvise([(at, PAGE)], abi.MADV_COLD),
            lambda: mm.register_wp(at, PAGE),
            lambda: mm.writeprotect(at, PAGE, protect=True),
            lambda: mm.msync(at, PAGE, abi.MS_SYNC),
            lambda: mm.mincore(at, PAGE),
            mm.fork,
            lambda: mm.read(at, 1),
            lambda: mm.write(at, b"x"),
            lambda: mm.execute(at),
            lambda: mm.touch(at, PAGE),
            lambda: mm.kernel_read(at, 1),
            lambda: mm.kernel_write(at, b"x"),
            mm.maps,
            lambda: mm.pagemap(at, at + PAGE),
            lambda: mm.scan(at, at + PAGE),
            mm.smaps,
        ]
        for call in calls:
            with pytest.raises(SystemCallError, match="ESRCH"):
                call()

    def test_again_does_nothing(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        mm.exit()
        mm.exit()
        tank.mms.remove(mm)

    def test_under_the_feet_of_those_inside(self, new_tank):
        tank = new_tank()
        for _ in range(ROUNDS // 6):
            mm = tank.mm()
            at = mm.mmap(4 * BLOCK, RW, addr=64 * BLOCK)
            together(
                repeat(lambda n, mm=mm, at=at: mm.touch(at + n % 4 * BLOCK, 8 * PAGE), 8),
                repeat(lambda n, mm=mm, at=at: mm.madvise(at, BLOCK, abi.MADV_DONTNEED), 8),
                mm.exit,
                mm.exit,
            )
            tank.mms.remove(mm)
            tank.check()

    def test_by_a_thread_that_is_inside(self, new_tank):
        """It would wait for itself; with the lock for writing it need not."""
        tank = new_tank()
        mm = tank.mm()
        with mm.mmap_lock.read(), pytest.raises(RuntimeError, match="let go before writing"):
            mm.exit()
        with mm.mmap_lock.write():
            mm.exit()
        tank.mms.remove(mm)

    def test_waits_for_who_holds_only_a_vmas_lock(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        mm.mmap(PAGE, RW)
        (vma,) = mm.vmas
        inside, seen = threading.Event(), []

        def hold():
            with vma.lock.read() as had:
                inside.set()
                ops = pw.WalkOps(pmd_entry=lambda *_: None, walk_lock=pw.PGWALK_VMA_RDLOCK_VERIFY)
                seen.extend((had, pw.walk_page_vma(vma, ops), vma.mm is mm))

        together(hold, lambda: (inside.wait(), mm.exit()))
        assert seen == [True, 0, True]
        tank.mms.remove(mm)


class TestLocks:
    """Rule: "which lock the walk demands; not held: WalkError, not a hang"."""

    @pytest.fixture
    def mm(self, new_tank):
        mm = new_tank().mm()
        mm.mmap(PAGE, RW)
        return mm

    def walk(self, mm, demand):
        (vma,) = mm.vmas
        return pw.walk_page_range(mm, vma.start, vma.end, pw.WalkOps(pte_entry=lambda *_: None, walk_lock=demand))

    @pytest.mark.parametrize("demand", list(pw.WalkLock))
    def test_not_held(self, mm, demand):
        with pytest.raises(WalkError, match="EINVAL"):
            self.walk(mm, demand)

    def test_held(self, mm):
        (vma,) = mm.vmas
        with mm.mmap_lock.read():
            assert self.walk(mm, pw.PGWALK_RDLOCK) == 0
            with pytest.raises(WalkError):
                self.walk(mm, pw.PGWALK_WRLOCK)
        with vma.lock.read() as had:
            assert had
            assert self.walk(mm, pw.PGWALK_VMA_RDLOCK_VERIFY) == 0
        with mm.mmap_lock.write():
            with pytest.raises(WalkError):
                self.walk(mm, pw.PGWALK_WRLOCK_VERIFY)
            assert self.walk(mm, pw.PGWALK_WRLOCK) == 0
            assert self.walk(mm, pw.PGWALK_WRLOCK_VERIFY) == 0

    def test_held_by_another_thread(self, mm):
        """Who asks is asked as lockdep does: for the current thread."""
        with mm.mmap_lock.read(), pytest.raises(WalkError):
            together(lambda: self.walk(mm, pw.PGWALK_RDLOCK))

    @pytest.mark.parametrize("call", ["munmap", "mprotect", "mremap", "dontfork"])
    def test_areas_are_write_locked_before_they_change(self, mm, call, monkeypatch):
        """Who holds only a VMA's lock must not see it change: the calls mark it first (``vma_start_write``)."""
        (vma,) = mm.vmas
        marked = []
        lock = vma.lock
        monkeypatch.setattr(type(lock), "start_write", lambda self: marked.append(self))
        match call:
            case "munmap":
                mm.munmap(vma.start, PAGE)
            case "mprotect":
                mm.mprotect(vma.start, PAGE, abi.PROT_READ)
            case "mremap":
                mm.mremap(vma.start, PAGE, PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, vma.start - 16 * PAGE)
            case _:
                mm.madvise(vma.start, PAGE, abi.MADV_DONTFORK)
        assert lock in marked
