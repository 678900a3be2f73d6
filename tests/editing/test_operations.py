"""Any operations on tables of any format: what they map is what a slow record says; nothing else in memory changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk import AlreadyMapped, EditError, NeedsSplit, UnsupportedError, mappings, undo
from pagewalk.formats import FORMATS, find_format
from tests.editing.bench import KEEP, Workbench, said

OPERATIONS = ("install", "unmap", "protect", "remap", "guard", "unguard", "split", "merge")


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[str, int, int, int, int, bool]]:
    """Operations: which, the first page and how many, a frame, which rights, and whether pages may be split."""
    one = st.tuples(
        st.sampled_from(OPERATIONS),
        st.integers(0, KEEP - 1),
        st.integers(1, 20),
        st.integers(0, 200),
        st.integers(0, 3),
        st.booleans(),
    )
    return draw(st.lists(one, min_size=1, max_size=8))


class Record:
    """What pages are to be: a dict, changed as slowly as can be."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.pages: dict[int, tuple[int, str] | str] = {}

    def has(self, span: range) -> list[int]:
        return [vaddr for vaddr in span if vaddr in self.pages]

    def after(self, what: str, span: range, paddr: int, rights: str) -> None:
        """One operation that went well."""
        size = self.bench.size
        for at, vaddr in enumerate(span):
            now = self.pages.get(vaddr)
            if what == "install":
                self.pages[vaddr] = paddr + at * size, rights
            elif what == "unmap":
                self.pages.pop(vaddr, None)
            elif what == "protect" and isinstance(now, tuple):
                self.pages[vaddr] = now[0], rights
            elif what == "remap" and isinstance(now, tuple):
                self.pages[vaddr] = paddr + at * size, now[1]
            elif what == "guard":
                self.pages[vaddr] = "guard"
            elif what == "unguard" and now == "guard":
                del self.pages[vaddr]

    def check(self, tables) -> None:
        """Every page is what it is to be, one by one."""
        bench = self.bench
        for at in range(KEEP + 32):
            vaddr = bench.base + at * bench.size
            assert said(tables, vaddr) == self.pages.get(vaddr), f"{vaddr:#x}"


def perform(change, record: Record, script) -> int:
    """Do operations, and check after each that it did all of what it is to do, or nothing; how many went well."""
    bench, done = record.bench, 0
    for what, first, count, frame, which, split in script:
        vaddr, size = bench.base + first * bench.size, count * bench.size
        span = range(vaddr, vaddr + size, bench.size)
        paddr, rights = bench.first_frame + frame * bench.size, bench.rights[which % len(bench.rights)]
        try:
            if what == "install":
                change.install(vaddr, paddr, size, rights)
            elif what == "unmap":
                change.unmap(vaddr, size, split=split, free_tables=split)
            elif what == "protect":
                change.protect(vaddr, size, rights, split=split)
            elif what == "remap":
                change.remap(vaddr, paddr, size, split=split)
            elif what in ("guard", "unguard"):
                getattr(change, what)(vaddr, size)
            else:
                getattr(change, what)(vaddr, size)
        except AlreadyMapped:
            assert what in ("install", "guard")
            assert record.has(span)
        except NeedsSplit:
            assert not split
        except UnsupportedError:
            assert what in ("guard", "split", "merge")
        except EditError:
            assert what in ("protect", "remap", "split", "merge")
        else:
            done += 1
            record.after(what, span, paddr, rights)
        record.check(change.tables)
    return done


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=12)
@given(first=scripts(), second=scripts())
def test_plan_commit_and_undo(name: str, first, second, tmp_path_factory) -> None:
    bench = Workbench(name)
    record = Record(bench)
    with bench.change() as change:
        perform(change, record, first)
        change.commit()
    record.check(bench.tables)
    before = bytes(bench.data)
    change = bench.change()
    perform(change, record, second)
    assert bytes(bench.data) == before, "nothing is written before commit"
    plan = change.plan()
    planned = bytearray(before)
    word = bench.form.word
    for row in plan.words:
        at = int(row["paddr"])
        assert word.unpack(before[at : at + word.size]) == (int(row["old"]),)
        planned[at : at + word.size] = word.pack([int(row["new"])])
    journal = tmp_path_factory.mktemp("edit") / "journal"
    done = change.commit(journal=journal)
    assert done.words == len(plan)
    assert bench.data == planned, "what is written is what the plan lists"
    record.check(bench.tables)
    undo(journal, bench.memory)
    assert bytes(bench.data) == before


def larger(name: str) -> list[int]:
    form = find_format(name)
    return [size for size in form.page_sizes if size != form.page_size]


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in FORMATS for size in larger(name)])
def test_split_then_merge_is_the_identity(name: str, size: int) -> None:
    bench = Workbench(name)
    vaddr = bench.base // size * size + size
    if bench.tables.windows[0].end < vaddr + size:
        vaddr = 0
    with bench.change() as change:
        change.install(vaddr, size, size, "rwxu", page_size=size)
        change.commit()
    before, rows = bytes(bench.data), mappings(bench.tables, coalesce=False)
    change = bench.change()
    change.split(vaddr, size)
    now = mappings(change.tables, coalesce=False)
    assert int(now["page_size"].max()) < size
    assert int(now["size"].sum()) == size == int(rows["size"].sum())
    assert np.array_equal(mappings(change.tables)["paddr"], mappings(bench.tables)["paddr"])
    change.merge(vaddr, size, page_size=size)
    assert np.array_equal(mappings(change.tables, coalesce=False), rows)
    change.commit()
    assert np.array_equal(mappings(bench.tables, coalesce=False), rows)
    left = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(bench.data, np.uint8))
    low, high = bench.frames[0]
    assert all((low <= left) & (left < high)), "only a table that was made and freed is not what it was"
