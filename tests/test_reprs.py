"""What is shown of a thing fits a line, whatever is in it; and a message does not print all of a long list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk import doors, sweep
from pagewalk.formats import FORMATS, find_format
from pagewalk.memory import Segment
from tests.world import PAGE, M, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = "/a/very/long/name/of/a/file\n\x1b[31m" * 40
BASE = (1 << 46) + (1 << 30)


def scattered() -> pw.FlatMemory:
    """8,000 pieces with holes between them."""
    some = memoryview(bytes(PAGE))
    return pw.FlatMemory(Segment((1 << 51) + at * 8192, some) for at in range(8000))


def things(tmp_path: Path) -> Iterator[Any]:
    """One of every public kind, at its longest."""
    world = World("x86-64-la57")
    world.map(BASE, 1 << 50)
    world.map(BASE + 2 * M, (1 << 51) + 2 * M, depth=3)
    vma = world.vma(BASE, BASE + PAGE, name=LONG, mapping=pw.Mapping(LONG))
    path = tmp_path / ("n" * 200 + "\n\x1b[31m")
    path.write_bytes(bytes(64 * PAGE))
    parts = [((1 << 50) + at * 2 * PAGE, at * PAGE, PAGE) for at in range(64)]
    many, image = scattered(), pw.RawImage(path, segments=parts)
    machine = pw.Machine(4 * M, hugetlb={2 * M: 1})
    mm = machine.mm()
    at = mm.mmap(PAGE, 3)
    ops = pw.WalkOps(pte_entry=lambda *_: None, pmd_entry=lambda *_: None, pte_hole=lambda *_: None)
    yield from (many, image, world.memory, pw.CachedMemory(many), pw.CachedMemory(pw.CachedMemory(image)))
    yield from (pw.PageTables(memory, (1 << 52) - PAGE) for memory in (many, image, pw.CachedMemory(many)))
    yield from (world.tables, world.space, vma, vma.mapping, world.frames, pw.RangeAllocator(*[(0, PAGE)] * 1))
    yield from (*world.tables.steps(BASE), world.tables.root_table, world.tables.translate(BASE))
    yield from (pw.folio_walk(vma, BASE), ops, pw.Walk(world.tables, ops), pw.MmapLock(), pw.VmaLock(pw.MmapLock()))
    yield from (machine, mm, mm.tables, next(iter(mm.vmas)), machine.file(LONG), mm.vmas)
    yield from (*map(find_format, FORMATS), *find_format("x86-64").levels, pw.capture(), many.segments[0])
    layout = pw.Layout(format="arm64-64k-lpa", regions=[pw.Region(LONG, BASE, 1 << 40, "rw-u")], name=LONG)
    yield from (layout, pw.build(layout), layout.regions[0], pw.Reserve(BASE, 1 << 40))
    yield from (sweep.mappings(world.tables), *pw.Action, *pw.WalkLock, pw.SKIP, pw.Flag.rights(), pw.Kind.GUARD, at)


def test_every_repr_fits_a_line(tmp_path: Path) -> None:
    """About 120 characters, none of them a newline or a control character."""
    for thing in things(tmp_path):
        text = repr(thing)
        assert text.isprintable(), text
        assert len(text) <= 140, (len(text), text)
        assert str(thing).isprintable(), text


@pytest.mark.parametrize(
    "ask",
    [
        lambda memory: memory.read(0, 8),
        lambda memory: memory.write(0, b"x"),
        lambda memory: pw.PageTables(memory, 0).translate(0),
        lambda memory: pw.mappings(pw.PageTables(memory, 0)),
        lambda memory: pw.PageTables(pw.CachedMemory(memory), 0).translate(0),
    ],
)
def test_a_list_of_8000_segments_is_not_printed_whole(ask: Any) -> None:
    with pytest.raises(pw.PagewalkError, match="7,998 more") as caught:
        ask(scattered())
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_few_are_named() -> None:
    some = memoryview(b"x")
    assert pw.FlatMemory([Segment(8, some), Segment(0, some)]).extent == "[0x0, 0x1), [0x8, 0x9)"
    assert pw.FlatMemory([]).extent == "nothing"
    assert pw.FlatMemory(Segment(at * 8, some) for at in range(5)).extent.endswith("[0x8, 0x9) and 3 more up to 0x21")


class TestShown:
    """Whatever somebody gives in a number's place."""

    @pytest.mark.parametrize(
        "value",
        [
            *("x" * 10_000, b"x" * 10_000, ["x" * 10_000] * 10_000, {at: at for at in range(10_000)}, 10**10_000),
            *([10**10_000], LONG, "\u202e\u2028\x9b", object(), float("nan")),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_it_fits(self, value: Any) -> None:
        text = doors.shown(value)
        assert text.isprintable()
        assert len(text) <= 60

    def test_what_cannot_be_shown_is_shown_as_that(self) -> None:
        class Broken:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        assert "Broken" in doors.shown(Broken())

    def test_both_ends_are_kept(self) -> None:
        assert doors.shortened("abcdefghijklmnopqrstuvwxyz", 11) == "abcd...wxyz"
        assert doors.shortened("short", 11) == "short"
        assert doors.shortened("a\nb") == "a\\nb"
