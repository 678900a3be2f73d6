"""Images of some size: hostile ones, memory bounds, threads, progress, Ctrl-C."""

import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from pagewalk import sweep
from pagewalk.errors import Malformed, UnsupportedError
from pagewalk.formats import Flag, Kind
from pagewalk.memory import FlatMemory, Segment
from pagewalk.sweep import descent, listing, reader, threads, translation
from pagewalk.tables import PageTables

pytestmark = pytest.mark.slow

SELF = 512**4
TABLE = 0x67


def image(tables, *, fill=1.0, huge=0.0, swap=0.0, runs=1, again=0.0, seed=1):
    """Tables of the last level in random places, 512 under a PMD table, all below one PUD table."""
    random = np.random.default_rng(seed)
    directories = -(-tables // 512)
    words = np.zeros((tables + directories + 2, 512), np.uint64)
    places = random.permutation(np.arange(2, len(words))).astype(np.uint64)
    words[0, 3] = 1 << 12 | TABLE
    words[1, :directories] = places[tables:] << 12 | TABLE
    links = np.zeros(directories * 512, np.uint64)
    links[:tables] = places[:tables] << 12 | TABLE
    if huge:
        big = random.random(len(links)) < huge
        links[big] = random.integers(0, 1 << 20, int(big.sum())).astype(np.uint64) << 21 | 0xE7
    words[places[tables:]] = links.reshape(directories, 512)
    frames = random.permutation(tables * 512 // runs).repeat(runs).astype(np.uint64) * runs
    frames += np.tile(np.arange(runs, dtype=np.uint64), tables * 512 // runs)
    if again:
        new = random.random(len(frames)) >= again
        frames = frames[np.maximum.accumulate(np.where(new, np.arange(len(frames)), 0))]
    entries = frames << 12 | 0x8000_0000_0000_0067
    if swap:
        out = random.random(len(entries)) < swap
        entries[out] = frames[out] << 9 ^ 0x07FF_FFFF_FFFF_FE00
        entries[random.random(len(entries)) < 0.3] &= np.uint64((1 << 64) - 1 - 0x40)
    entries[random.random(len(entries)) >= fill] = 0
    words[places[:tables]] = entries.reshape(tables, 512)
    return words


def tables_over(words):
    return PageTables(FlatMemory([Segment(0, memoryview(words.reshape(-1)).cast("B"))]), 0)


def plain(columns):
    return [column.tolist() for column in columns.block]


KINDS = {
    "dense": {},
    "runs": {"runs": 64, "again": 0.05},
    "mixed": {"fill": 0.7, "huge": 0.3, "swap": 0.2},
    "sparse": {"fill": 0.01},
}


@pytest.fixture(scope="module", params=KINDS)
def some(request):
    return tables_over(image(2400, **KINDS[request.param]))


class TestCompiled:
    """The kernels take whatever stands in an image of one piece: nothing is left to NumPy unnoticed."""

    @pytest.mark.parametrize("coalesce", [True, False])
    def test_all_of_it(self, some, coalesce, monkeypatch):
        expected = plain(sweep.mappings(some, coalesce=coalesce))
        monkeypatch.setenv("PAGEWALK_ENGINE", "numba")
        monkeypatch.setattr(descent, "_rows", None)
        assert plain(sweep.mappings(some, coalesce=coalesce)) == expected

    def test_translations(self, some, monkeypatch):
        vaddrs = sweep.mappings(some, coalesce=False).vaddr[::10] + np.uint64(17)
        expected = sweep.translate(some, vaddrs)
        monkeypatch.setenv("PAGEWALK_ENGINE", "numba")
        monkeypatch.setattr(translation._Way, "descend", None)
        for one, other in zip(sweep.translate(some, vaddrs), expected, strict=True):
            assert one.tolist() == other.tolist()


class TestChunks:
    """The size of a chunk changes nothing: directories that fill one, and are full, least of all."""

    @pytest.mark.parametrize("kind", ["dense", "runs"])
    @pytest.mark.parametrize("coalesce", [True, False])
    def test_small(self, engine, kind, coalesce, monkeypatch):
        tables = tables_over(image(3 * 512, **KINDS[kind]))
        expected = plain(sweep.mappings(tables, coalesce=coalesce, threads=1))
        monkeypatch.setattr(reader, "CHUNK", 2 * 512)
        assert plain(sweep.mappings(tables, coalesce=coalesce, threads=1)) == expected


class TestThreads:
    """Two threads leave what one leaves."""

    @pytest.mark.parametrize("coalesce", [True, False])
    def test_same(self, engine, some, coalesce, monkeypatch):
        monkeypatch.setattr(threads, "ENOUGH", 1 << 16)
        one = sweep.mappings(some, coalesce=coalesce, threads=1)
        for many in (2, 3, 8):
            assert plain(sweep.mappings(some, coalesce=coalesce, threads=many)) == plain(one)
        out = sweep.Columns.allocate(len(one), some.format, coalesce=coalesce)
        assert plain(sweep.mappings(some, coalesce=coalesce, threads=2, out=out)) == plain(one)
        assert plain(sweep.holes(some, threads=4)) == plain(sweep.holes(some, threads=1))

    def test_errors_are_those_of_one(self, engine, monkeypatch):
        monkeypatch.setattr(threads, "ENOUGH", 1 << 16)
        words = image(2000)
        links = words[int(words[1, 2] >> 12)]
        links[100] = 1 << 50 | TABLE
        links[300] = 1 << 50 | TABLE
        tables = tables_over(words)
        for many in (1, 4):
            with pytest.raises(Malformed) as caught:
                sweep.mappings(tables, threads=many)
            assert caught.value.vaddr == (3 << 39) + (2 << 30) + (100 << 21)
            findings = []
            sweep.mappings(tables, threads=many, findings=findings)
            assert [one.vaddr >> 21 & 511 for one in findings] == [100, 300]

    def test_no_thread(self, some):
        with pytest.raises(ValueError, match="needs a thread"):
            sweep.mappings(some, threads=0)

    def test_small_work_is_for_one(self):
        assert threads.workers(None, 1000) == 1
        assert threads.workers(8, threads.ENOUGH) == 1
        assert threads.workers(2, 100 * threads.ENOUGH) == 2


class TestEngines:
    """The same answers from both, and from the format itself."""

    def test_rows_say_what_the_format_says(self, engine, some):
        rows = sweep.mappings(some, coalesce=False, entries=True)
        small = rows.depth == 4
        level = some.format.levels[4]
        assert (rows.paddr[small] == some.format.frame(rows.entry[small], level)).all()
        assert (rows.kind == some.format.kind(rows.entry)).all()
        assert (rows.flags[small] == some.format.flags(rows.entry[small])).all()
        assert (rows.vaddr[1:] > rows.vaddr[:-1]).all()
        counted = {(row["kind"].item(), row["page_size"].item()): row["entries"].item() for row in sweep.count(some)}
        assert sum(counted.values()) == len(rows)
        assert counted[Kind.PRESENT.value, 4096] == ((rows.kind == Kind.PRESENT) & small).sum()

    def test_hardware(self, engine, some):
        rows = sweep.mappings(some, coalesce=False)
        there = rows.kind == Kind.PRESENT
        assert plain(sweep.mappings(some, coalesce=False, hardware=True)) == [c[there].tolist() for c in rows.block]

    def test_rights_of_the_levels_above(self, engine):
        words = image(1500)
        words[1, 1] &= np.uint64((1 << 64) - 1 - 2)
        rows = sweep.mappings(tables_over(words), coalesce=False)
        second = (rows.vaddr >> np.uint64(30) & np.uint64(511)) == 1
        assert ((rows.flags & int(Flag.WRITE) == 0) == second).all()

    def test_no_such_engine(self, some, monkeypatch):
        monkeypatch.setenv("PAGEWALK_ENGINE", "fortran")
        with pytest.raises(UnsupportedError, match="numpy and numba"):
            sweep.mappings(some)


class TestSelfMappedRoot:
    """A root whose 512 entries all point back to itself: 512**4 pages."""

    @pytest.fixture
    def tables(self):
        return tables_over(np.full((1, 512), TABLE, np.uint64))

    def test_count_is_exact(self, engine, tables):
        (row,) = sweep.count(tables)
        assert row.tolist() == (Kind.PRESENT, 4096, SELF)

    def test_a_part_of_it(self, engine, tables):
        start, end = 4096 * 5, (1 << 47) - 4096 * 7
        assert sweep.count(tables, start, end)["entries"].tolist() == [SELF // 2 - 12]

    def test_a_listing_page_by_page_is_refused_with_its_number(self, engine, tables):
        with pytest.raises(UnsupportedError, match=f"{SELF:,} entries"):
            sweep.mappings(tables, coalesce=False)

    def test_joined_it_is_one_row_in_each_half(self, engine, tables):
        rows = sweep.mappings(tables)
        assert rows.size.tolist() == [SELF // 2 << 12] * 2
        assert rows.paddr.tolist() == [0, 0]
        assert (rows.flags & int(Flag.REPEATED) != 0).all()
        assert not len(sweep.holes(tables))

    def test_told_to_go_on_it_streams(self, engine, tables):
        seen = 0
        for block in sweep.iterate(tables, coalesce=False):
            assert block.vaddr[0] == seen << 12
            seen += len(block)
            if seen > 1 << 20:
                break

    def test_time_and_memory_are_bounded(self):
        code = """
            import resource, numpy as np
            from pagewalk import sweep
            from pagewalk.memory import FlatMemory, Segment
            from pagewalk.tables import PageTables
            words = np.full(512, 0x67, np.uint64)
            tables = PageTables(FlatMemory([Segment(0, memoryview(words).cast("B"))]), 0)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert sweep.count(tables)["entries"].tolist() == [512**4]
            blocks = sweep.iterate(tables, coalesce=False)
            for _ in range(20):
                next(blocks)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
        assert int(run(code)) < 200 << 10


def run(code):
    """Run code in a process of its own; what it printed."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestMemory:
    """Rule: "Peak memory of a coalesced listing ...; of ``count``: at most 50 MiB"."""

    def test_count_and_runs(self):
        code = f"""
            import resource, sys
            sys.path.insert(0, {sys.path[0]!r})
            from tests.sweep.test_large import image, tables_over
            from pagewalk import sweep
            tables = tables_over(image(4096, runs=16))
            sweep.count(tables, 0, 1 << 30)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            sweep.count(tables)
            counted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            rows = sweep.mappings(tables)
            print(counted - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(rows))
        """
        counted, listed, rows = map(int, run(code).split())
        assert rows <= 4096 * 512 // 16
        assert counted < 50 << 10
        assert listed < 100 << 10

    def test_many_pages_in_little_memory(self):
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        assert soft in (resource.RLIM_INFINITY, soft)
        tables = tables_over(image(1200))
        largest = max(len(block) for block in sweep.iterate(tables, coalesce=False))
        assert largest <= 1 << 18

    def test_one_where_two_would_have_to_copy(self, monkeypatch):
        """The caller's columns hold what there is and no more: no thread knows where its rows begin."""
        tables = tables_over(image(300, **KINDS["mixed"]))
        monkeypatch.setattr(threads, "ENOUGH", 1 << 10)
        out = sweep.Columns.allocate(len(sweep.mappings(tables, coalesce=False)), tables.format)
        monkeypatch.setattr(listing, "in_parallel", None)
        assert len(sweep.mappings(tables, coalesce=False, out=out)) == len(out)


class TestProgress:
    """Told now and then, up to the end."""

    def test_told(self, engine, some):
        some = some if engine == "numpy" else tables_over(image(8000, fill=0.01))  # so many at once if they are sparse
        told = []
        sweep.mappings(some, threads=1, progress=lambda done, known: told.append((done, known)))
        tables = int(sweep.count(some)["entries"].sum())
        assert tables
        assert told == sorted(told)
        assert told[-1][0] == told[-1][1]
        assert len(told) > 1

    def test_ctrl_c_stops_within_a_chunk(self, engine, some):
        done = []

        def interrupt(tables, known):
            done.append(tables)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            sweep.mappings(some, coalesce=False, threads=1, progress=interrupt)
        assert len(done) == 1
        assert done[0] * 512 <= 2 * descent.COMPILED

    def test_ctrl_c_stops_the_threads(self, engine, some, monkeypatch):
        monkeypatch.setattr(threads, "ENOUGH", 1 << 16)

        def interrupt(tables, known):
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            sweep.mappings(some, coalesce=False, threads=2, progress=interrupt)
        assert len(sweep.mappings(some, threads=2)) > 0
