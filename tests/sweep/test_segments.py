"""A memory of any number of segments gives what one segment gives, with nothing left to a slower way unnoticed."""

import ctypes
import gc
import mmap
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk import sweep
from pagewalk.formats import Word
from pagewalk.memory import FlatMemory, Segment
from pagewalk.sweep import Installation, install, source, store, translation
from pagewalk.sweep.inplace import InPlace
from tests.conftest import skip_or_fail
from tests.sweep.test_large import KINDS, image, plain

SIZE = 4096
HOLE = 1 << 30
FIRST = 3 << 39
"""Where the images' pages begin."""


def cut_in(words, parts, lead=0):
    """The tables of an image in so many segments with holes between them, and what lies in front of each in bytes."""
    cuts = [len(words) * at // parts for at in range(parts + 1)]
    moved = words.copy()
    links = [moved[0, 3:4], moved[1], *(moved[int(entry) >> 12] for entry in words[1] if entry)]
    for row in links:
        table = (row & np.uint64(0x80) == 0) & (row != 0)
        part = np.searchsorted(cuts, (row[table] >> np.uint64(12) & np.uint64((1 << 28) - 1)), side="right") - 1
        row[table] += part.astype(np.uint64) * np.uint64(HOLE)
    return FlatMemory(
        Segment(low * SIZE + at * HOLE, placed(moved[low:high], lead * at))
        for at, (low, high) in enumerate(pairwise(cuts))
    )


def placed(words, lead):
    """The bytes of tables, so many bytes behind the start of a page."""
    room = memoryview(mmap.mmap(-1, words.nbytes + lead))
    room[lead:] = memoryview(np.ascontiguousarray(words).reshape(-1)).cast("B")
    return room[lead:]


@pytest.fixture(scope="module", params=KINDS)
def words(request):
    return image(1200, **KINDS[request.param])


@pytest.fixture(params=[(2, 0), (3, 8), (9, 0), (20, 24)], ids=lambda given: f"{given[0]} segments, {given[1]} apart")
def pair(request, words):
    """The same tables in one segment and in several."""
    one = FlatMemory([Segment(0, memoryview(words.reshape(-1)).cast("B"))])
    return pw.PageTables(one, 0), pw.PageTables(cut_in(words, *request.param), 0)


class TestSame:
    """Every question, by both engines, with nothing fetched table by table."""

    @pytest.fixture(autouse=True)
    def nothing_is_fetched(self, monkeypatch):
        monkeypatch.setattr(source.Source, "_read", None)

    @pytest.mark.parametrize("coalesce", [True, False])
    def test_mappings(self, engine, pair, coalesce):
        one, many = (plain(sweep.mappings(tables, coalesce=coalesce)) for tables in pair)
        assert one == many

    def test_counts_and_holes(self, engine, pair):
        one, many = ((sweep.count(tables).tolist(), plain(sweep.holes(tables))) for tables in pair)
        assert one == many

    def test_translations(self, engine, pair):
        vaddrs = sweep.mappings(pair[0], coalesce=False).vaddr[::3] + np.uint64(17)
        one, many = (sweep.translate(tables, vaddrs) for tables in pair)
        assert [column.tolist() for column in one] == [column.tolist() for column in many]

    def test_compiled_translations_are_left_to_nobody(self, pair, monkeypatch):
        monkeypatch.setenv("PAGEWALK_ENGINE", "numba")
        monkeypatch.setattr(translation._Way, "descend", None)
        vaddrs = sweep.mappings(pair[0], coalesce=False).vaddr[::3]
        assert sweep.translate(pair[1], vaddrs)[1].any()


@pytest.mark.filterwarnings("ignore:.*no update_mmu_cache hook runs:RuntimeWarning")
class TestWritten:
    """What is installed lies in the right segment, in tables that were there and in new ones."""

    @pytest.mark.parametrize(("parts", "lead"), [(2, 0), (3, 8)])
    def test_installed(self, engine, parts, lead, monkeypatch):
        monkeypatch.setattr(store, "write_to", None)  # nothing is written a table or a slot at a time
        words, spare = image(1100, fill=0.3), 200
        words = np.concatenate([words, np.zeros((spare, 512), np.uint64)])
        found = []
        for memory in (cut_in(words, 1), cut_in(words, parts, lead)):
            end = memory.segments[-1].end
            frames = pw.RangeAllocator((end - spare * SIZE, end))
            tables, progress = pw.PageTables(memory, 0, allocator=frames), Installation()
            install(tables, FIRST, FIRST + (1290 << 21), 0x1067, progress=progress)
            found.append((progress.installed, progress.tables_allocated, plain(sweep.mappings(tables))))
        assert found[0] == found[1]
        assert found[0][1] > 150

    def test_only_what_is_writable(self):
        segments = [Segment(0, memoryview(bytearray(SIZE))), Segment(HOLE, memoryview(bytes(SIZE)))]
        assert InPlace(FlatMemory(segments[:1]), Word()).writable
        assert not InPlace(FlatMemory(segments), Word()).writable


def words_at(segments):
    """A memory in place, and what its bytes are, as a list a segment."""
    memory = FlatMemory([Segment(start, memoryview(data)) for start, data in segments])
    return InPlace(memory, Word()), memory


class TestPlaces:
    """Where tables lie, against ``read``: on borders, in holes, misaligned, beyond."""

    @settings(max_examples=300)
    @given(
        st.lists(st.tuples(st.integers(0, 40), st.integers(1, 120)), min_size=0, max_size=9),
        st.sampled_from([8, 32, 64]),
        st.lists(st.integers(0, 1300), min_size=1, max_size=40),
        st.booleans(),
    )
    def test_against_read(self, gaps, size, paddrs, aligned):
        at, segments = 0, []
        for gap, length in gaps:
            at += gap
            lead = at % 8  # its words lie as words must
            segments.append((at, memoryview(bytearray(np.random.default_rng(at).bytes(lead + length)))[lead:]))
            at += length
        here, memory = words_at(segments)
        wanted = np.array([paddr // 8 * 8 if aligned else paddr for paddr in paddrs], np.uint64)
        places, outside = here.places(wanted, size)
        outside = np.zeros(len(wanted), np.bool_) if outside is None else outside
        for paddr, place, out in zip(wanted.tolist(), places.tolist(), outside.tolist(), strict=True):
            there = any(one.start <= paddr and paddr + size <= one.end for one in memory.segments)
            assert out == (not there or paddr % 8 != 0)
            assert out or here.words[place : place + size // 8].tobytes() == memory.read(paddr, size)

    def test_the_last_address(self):
        here, _ = words_at([(0, bytes(SIZE)), ((1 << 64) - SIZE, bytes(SIZE))])
        wanted = np.array([0, (1 << 64) - SIZE, (1 << 64) - 8, 1 << 63], np.uint64)
        assert here.places(wanted[:2], SIZE)[1] is None
        assert here.places(wanted, SIZE)[1].tolist() == [False, False, True, True]

    def test_no_memory(self):
        here, _ = words_at([])
        assert not here
        assert here.places(np.zeros(2, np.uint64), 8)[1].all()

    def test_bytes_that_do_not_lie_as_words_are_read(self, engine):
        words = image(600)
        room = memoryview(bytearray(words.nbytes + 16))
        odd = 3 + -address_of(room) % 8
        room[odd : odd + words.nbytes] = memoryview(words.reshape(-1)).cast("B")
        tables = pw.PageTables(FlatMemory([Segment(0, room[odd : odd + words.nbytes])]), 0)
        one = pw.PageTables(FlatMemory([Segment(0, memoryview(words.reshape(-1)).cast("B"))]), 0)
        assert plain(sweep.mappings(tables)) == plain(sweep.mappings(one))


def address_of(room):
    """Where bytes lie in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(room))


class TestNothingBetween:
    """What lies between the segments in this process is not the memory's: it may be gone."""

    def test_a_gap_without_memory(self, engine):
        words = image(1200, **KINDS["mixed"])
        half, page = len(words) // 2 * SIZE, mmap.PAGESIZE
        room = mmap.mmap(-1, words.nbytes + (16 << 20))
        gap = half + (8 << 20)
        base = address_of(memoryview(room))
        shifted = cut_in(words, 2)
        room[:half] = shifted.segments[0].data
        view = memoryview(room)
        view[gap : gap + words.nbytes - half] = shifted.segments[1].data
        libc = ctypes.CDLL(None, use_errno=True)
        length = ctypes.c_size_t(gap - half - 2 * page)
        if libc.mprotect(ctypes.c_void_p(base + half + page), length, 0):
            skip_or_fail("no page can be taken away here")
        starts = [segment.start for segment in shifted.segments]
        memory = FlatMemory(
            [Segment(starts[0], view[:half]), Segment(starts[1], view[gap : gap + words.nbytes - half])]
        )
        tables, same = pw.PageTables(memory, 0), pw.PageTables(shifted, 0)
        assert plain(sweep.mappings(tables)) == plain(sweep.mappings(same))
        vaddrs = sweep.mappings(same, coalesce=False).vaddr
        assert [a.tolist() for a in sweep.translate(tables, vaddrs)] == [
            a.tolist() for a in sweep.translate(same, vaddrs)
        ]

    def test_the_bytes_live_as_long_as_their_words(self):
        words = InPlace(FlatMemory([Segment(0, memoryview(bytearray(b"\7" * (1 << 20))))]), Word()).words
        gc.collect()
        assert words.tobytes() == b"\7" * (1 << 20)
