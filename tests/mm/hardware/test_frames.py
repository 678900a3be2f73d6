"""Physical frames: accounting by use, runs of 2 MiB, large folios, and running out."""

import numpy as np
import pytest

from pagewalk import abi
from pagewalk.errors import OutOfFrames
from pagewalk.memory import Ram
from pagewalk.mm import Machine
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.hardware.pool import FramePool
from tests.mm.sizes import BLOCK, GEOMETRY, PAGE

MIB = 1 << 20
RW = abi.PROT_READ | abi.PROT_WRITE


class TestUsage:
    """``Machine.usage``: bytes of RAM by what they are used for."""

    def test_adds_up_to_the_ram(self):
        assert sum(Machine(8 * MIB).usage().values()) == 8 * MIB

    def test_by_kind(self, new_tank):
        tank = new_tank(hugetlb={BLOCK: 1})
        mm, file = tank.mm(), tank.file(size=4 * PAGE)
        mm.touch(mm.mmap(3 * PAGE, RW), 3 * PAGE)
        mm.touch(mm.mmap(2 * PAGE, RW, abi.MAP_SHARED, file=file), 2 * PAGE)
        usage = tank.machine.usage()
        assert (usage["anon"], usage["file"], usage["hugetlb"], usage["zero"]) == (3 * PAGE, 2 * PAGE, BLOCK, PAGE)
        assert usage["table"] == 4 * PAGE  # both mappings lie in one PTE table
        assert sum(usage.values()) == 32 * MIB

    def test_reading_costs_tables_only(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        mm.touch(mm.mmap(9 * PAGE, RW), 9 * PAGE, "read")
        assert tank.machine.usage()["anon"] == 0
        assert tank.machine.usage()["table"] == 4 * PAGE

    def test_a_page_without_rights_goes_with_its_mapping(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(PAGE, RW)
        mm.write(at, b"x")
        mm.mprotect(at, PAGE, abi.PROT_NONE)
        mm.munmap(at, PAGE)
        assert tank.machine.usage()["anon"] == 0

    def test_shared_memory_goes_with_its_last_mapping(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(3 * PAGE, RW, abi.MAP_SHARED | abi.MAP_ANONYMOUS)
        mm.write(at, b"x" * 3 * PAGE)
        child = tank.fork(mm)
        mm.munmap(at, 3 * PAGE)
        assert tank.machine.usage()["file"] == 3 * PAGE
        assert child.read(at + 2 * PAGE, 1) == b"x"
        child.munmap(at, 3 * PAGE)
        assert tank.machine.usage()["file"] == 0

    def test_a_fork_shares(self, new_tank):
        tank = new_tank()
        mm = tank.mm()
        at = mm.mmap(8 * PAGE, RW)
        mm.touch(at, 8 * PAGE)
        child = tank.fork(mm)
        assert tank.machine.usage()["anon"] == 8 * PAGE
        child.write(at, b"mine")
        assert tank.machine.usage()["anon"] == 9 * PAGE


class TestTaking:
    def test_zeroed_again_after_use(self):
        pool = FramePool(Ram(8 * PAGE), GEOMETRY)
        frames = pool.take_many(8, Usage.ANON)
        pool.words[frames // np.uint64(PAGE)] = 7
        pool.drop(frames)
        assert not pool.words[pool.take_many(8, Usage.ANON) // np.uint64(PAGE)].any()

    def test_all_or_none(self):
        pool = FramePool(Ram(8 * PAGE), GEOMETRY)
        pool.take_many(3, Usage.ANON)
        with pytest.raises(OutOfFrames, match="6 frames wanted, 5 of 8 free"):
            pool.take_many(6, Usage.ANON)
        assert pool.free == 5
        assert pool.count(Usage.ANON) == 3

    def test_given_back_too_often(self):
        pool = FramePool(Ram(8 * PAGE), GEOMETRY)
        frame = pool.take(Usage.ANON)
        pool.drop(frame)
        with pytest.raises(ValueError, match=f"{frame:#x} is given back more often"):
            pool.drop(frame)

    def test_held_frames_stay(self):
        pool = FramePool(Ram(8 * PAGE), GEOMETRY)
        frame = pool.take(Usage.FILE)
        pool.hold(frame)
        pool.drop(frame)
        assert (pool.free, pool.shared(frame)[0]) == (7, False)
        pool.drop(frame)
        assert pool.free == 8


class TestBlocks:
    """Runs of 2 MiB, kept whole as long as single frames are to be had elsewhere."""

    def test_single_frames_leave_them_whole(self):
        pool = FramePool(Ram(8 * MIB + 5 * PAGE), GEOMETRY)
        pool.take_many(5, Usage.ANON)
        assert [pool.take_block(Usage.ANON) for _ in range(4)] == [0, BLOCK, 2 * BLOCK, 3 * BLOCK]
        assert pool.free == 0

    def test_a_broken_one_is_found_again(self):
        pool = FramePool(Ram(2 * BLOCK), GEOMETRY)
        frames = pool.take_many(513, Usage.ANON)
        with pytest.raises(OutOfFrames, match="no run of 0x200000 bytes is free"):
            pool.take_block(Usage.ANON)
        pool.drop(frames)
        assert {pool.take_block(Usage.ANON), pool.take_block(Usage.ANON)} == {0, BLOCK}

    def test_a_run_is_aligned_to_its_size(self):
        pool = FramePool(Ram(12 * MIB), GEOMETRY)
        pool.take_block(Usage.ANON)
        assert pool.take_run(2 * BLOCK, Usage.HUGETLB) == 2 * BLOCK
        assert pool.take_run(2 * BLOCK, Usage.HUGETLB) == 4 * BLOCK
        with pytest.raises(OutOfFrames, match="no run of 0x400000 bytes"):
            pool.take_run(2 * BLOCK, Usage.HUGETLB)


class TestLargeFolios:
    """None of a large folio's frames is free again before all are, or the folio is split."""

    @pytest.fixture
    def pool(self):
        return FramePool(Ram(2 * BLOCK), GEOMETRY)

    def test_kept_until_the_last_frame_goes(self, pool):
        folio = pool.take_block(Usage.ANON)
        pool.drop(pool.run(folio, BLOCK)[:-1])
        assert (pool.free, pool.is_large(folio)) == (512, True)
        pool.drop(folio + BLOCK - PAGE)
        assert (pool.free, pool.is_large(folio)) == (1024, False)

    def test_dissolved(self, pool):
        folio = pool.take_block(Usage.ANON)
        pool.drop(pool.run(folio, BLOCK)[:100])
        pool.dissolve(folio)
        assert (pool.free, pool.count(Usage.ANON)) == (612, 412)

    def test_dissolved_when_memory_is_short(self, pool):
        folio = pool.take_block(Usage.ANON)
        pool.drop(pool.run(folio, BLOCK)[:100])
        assert len(pool.take_many(612, Usage.ANON)) == 612
        with pytest.raises(OutOfFrames):
            pool.take(Usage.ANON)

    def test_of_tables_and_files_there_are_none(self, pool):
        assert not pool.is_large(pool.take_block(Usage.ZERO))


class TestOutOfMemory:
    def test_a_write_ends_where_memory_does(self, new_tank):
        tank = new_tank(16 * PAGE)
        mm = tank.mm()
        at = mm.mmap(64 * PAGE, RW)
        with pytest.raises(OutOfFrames) as caught:
            mm.write(at, b"x" * 64 * PAGE)
        done = (caught.value.vaddr - at) // PAGE
        assert tank.machine.usage()["free"] == 0
        assert tank.machine.usage()["anon"] == done * PAGE
        assert mm.read(at, done * PAGE) == b"x" * done * PAGE

    def test_folios_give_their_unmapped_frames_first(self, new_tank):
        """A fault is not refused while frames of a half-unmapped large folio are to be had."""
        tank = new_tank(4 * MIB, thp="always")
        mm = tank.mm()
        at = mm.mmap(BLOCK, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=BLOCK)
        mm.touch(at, BLOCK)
        mm.madvise(at, BLOCK // 2, abi.MADV_DONTNEED)
        free = tank.machine.frames.free
        other = mm.mmap(2 * BLOCK, RW | abi.PROT_EXEC, addr=BLOCK * 3 + PAGE)
        pages = free + 100
        mm.touch(other + PAGE, pages * PAGE)
        assert tank.machine.usage()["anon"] >= pages * PAGE

    def test_no_frame_for_an_address_space(self):
        machine = Machine(PAGE)
        with pytest.raises(OutOfFrames):
            machine.mm()

    def test_no_room_for_the_pools(self):
        with pytest.raises(OutOfFrames, match="no run of 0x200000"):
            Machine(4 * MIB, hugetlb={BLOCK: 2})
