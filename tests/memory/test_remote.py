"""A memory that is far away: how often it is asked, and that nothing old is taken for new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk.memory import BadAnswer
from pagewalk.testing import check_memory
from tests.world import M, World

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = 0x4000_0000
END = BASE + 4 * M


class Far:
    """Asked by ``read`` alone."""

    def __init__(self, ram: pw.Ram) -> None:
        self.ram = ram
        self.asked: list[tuple[int, int]] = []

    def read(self, paddr: int, size: int) -> bytes:
        self.asked.append((paddr, size))
        return self.ram.read(paddr, size)

    def write(self, paddr: int, data: bytes) -> None:
        self.ram.write(paddr, data)


class Many(Far):
    """Takes many questions at once."""

    journeys = 0

    def read_many(self, paddrs: Sequence[int], size: int) -> list[bytes | None]:
        self.journeys += 1
        return [self._or_none(paddr, size) for paddr in paddrs]

    def _or_none(self, paddr: int, size: int) -> bytes | None:
        try:
            return self.ram.read(paddr, size)
        except pw.MemoryReadError:
            return None


@pytest.fixture
def ram() -> pw.Ram:
    """Two full tables of the last level: five tables in all, the top one counted."""
    world = World(ram=2 * M)
    for at in range(0, 4 * M, 4096):
        world.map(BASE + at, at)
    return world.memory


class TestWork:
    """One read a table, whoever asks."""

    def test_a_walk(self, ram: pw.Ram) -> None:
        far, seen = Far(ram), []
        ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: seen.append((entry.value, entry.kind, entry.flags)))
        pw.walk_page_range_novma(pw.PageTables(far, 0), BASE, END, ops)
        assert len(seen) == 1024
        assert [size for _, size in far.asked] == [4096] * 5
        assert len(set(far.asked)) == 5

    def test_a_walk_with_a_callback_above_asks_again_after_it(self, ram: pw.Ram) -> None:
        far = Far(ram)
        nothing: Any = lambda entry, addr, next_, walk: None  # noqa: E731
        pw.walk_page_range_novma(pw.PageTables(far, 0), BASE, END, pw.WalkOps(pmd_entry=nothing, pte_entry=nothing))
        assert len(far.asked) == 5 + 2 + 2  # two entries and their tables

    def test_steps(self, ram: pw.Ram) -> None:
        far = Far(ram)
        for _ in pw.PageTables(far, 0).steps(BASE):
            pass
        assert [size for _, size in far.asked] == [4096] * 4

    def test_a_question_is_one_journey_a_level(self, ram: pw.Ram) -> None:
        many = Many(ram)
        tables = pw.PageTables(many, 0)
        assert pw.mappings(tables, coalesce=False)["vaddr"].tolist() == list(range(BASE, END, 4096))
        assert many.journeys <= 5  # and a look at how full the last level is
        many.journeys = 0
        assert pw.translate(tables, range(BASE, END, 4096))[1].all()
        assert many.journeys == 4
        assert many.asked == []

    def test_through_a_cache(self, ram: pw.Ram) -> None:
        many = Many(ram)
        cache = pw.CachedMemory(many)
        for _ in range(2):
            assert len(pw.mappings(pw.PageTables(cache, 0), coalesce=False)) == 1024
        assert many.journeys == 4
        assert many.asked == []


def last(tables: pw.PageTables, vaddr: int) -> pw.Entry:
    """The entry at the end of the way."""
    *_, entry = tables.steps(vaddr)
    return entry


class TestNothingOld:
    """What pagewalk writes is seen at once, whoever wrote it; what others write, by the next look."""

    def test_a_neighbour_written_through_another_reference(self, ram: pw.Ram) -> None:
        tables, seen = pw.PageTables(Far(ram), 0), []

        def clear_the_next(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            seen.append(entry.value)
            if addr == BASE:
                last(pw.PageTables(tables.memory, 0), next_).value = 0

        pw.walk_page_range_novma(tables, BASE, BASE + 8192, pw.WalkOps(pte_entry=clear_the_next))
        assert seen[0] != 0
        assert seen[1] == 0

    @pytest.mark.parametrize("behind", [True, False])
    def test_an_upper_entry_after_its_callback(self, ram: pw.Ram, behind: bool) -> None:
        tables, seen = pw.PageTables(Far(ram), 0), []

        def unlink(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            if behind:
                ram.write(entry.paddr, bytes(8))
            else:
                pw.Entry(entry.table, entry.index).value = 0

        ops = pw.WalkOps(pmd_entry=unlink, pte_entry=lambda entry, addr, next_, walk: seen.append(addr))
        pw.walk_page_range_novma(tables, BASE, END, ops)
        assert seen == []

    def test_a_table_filled_by_the_callback_above(self, ram: pw.Ram) -> None:
        tables, seen = pw.PageTables(Far(ram), 0), []

        def fill(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            ram.write(entry.target or 0, bytes(4096))

        ops = pw.WalkOps(pmd_entry=fill, pte_entry=lambda entry, addr, next_, walk: seen.append(entry.value))
        pw.walk_page_range_novma(tables, BASE, END, ops)
        assert seen == [0] * 1024

    def test_an_entry_that_outlives_its_walk(self, ram: pw.Ram) -> None:
        kept: list[pw.Entry] = []
        ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: kept.append(entry))
        pw.walk_page_range_novma(pw.PageTables(Far(ram), 0), BASE, BASE + 4096, ops)
        ram.write(kept[0].paddr, (0x1234067).to_bytes(8, "little"))
        assert kept[0].value == 0x1234067

    def test_what_is_written_is_there(self, ram: pw.Ram) -> None:
        far = Far(ram)

        def clean(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            entry.value &= ~0x40
            assert not entry.value & 0x40

        pw.walk_page_range_novma(pw.PageTables(far, 0), BASE, END, pw.WalkOps(pte_entry=clean))
        assert not any(value & 0x40 for value in pw.mappings(pw.PageTables(ram, 0), coalesce=False)["entry"].tolist())
        assert len(far.asked) < 20


BROKEN: dict[str, tuple[Any, str]] = {
    "too few": (lambda paddrs, size: [], "gave 0 answers for 1 addresses"),
    "too short": (lambda paddrs, size: [bytes(8)] * len(paddrs), "answered 8 bytes"),
    "no bytes": (lambda paddrs, size: ["x"] * len(paddrs), "answered 'x', not bytes"),
    "no sequence": (lambda paddrs, size: 7, "raised TypeError"),
    "raises": (lambda paddrs, size: [][1], "raised IndexError"),
}


class TestPromises:
    """``read_many`` is checked as ``read`` is."""

    @pytest.mark.parametrize("kind", BROKEN)
    def test_a_broken_answer(self, ram: pw.Ram, kind: str) -> None:
        answer, says = BROKEN[kind]
        many: Any = Many(ram)
        many.read_many = answer
        with pytest.raises(BadAnswer, match=says):
            pw.mappings(pw.PageTables(many, 0), findings=[])

    def test_what_is_not_there_is_a_finding(self, ram: pw.Ram) -> None:
        many, found = Many(pw.Ram(4096)), list[pw.TranslationError]()
        many.ram.write(0, ram.read(0, 4096))
        pw.mappings(pw.PageTables(many, 0), findings=found)
        assert found
        assert all(isinstance(one, pw.Malformed) for one in found)

    def test_the_kit_checks_it(self, ram: pw.Ram) -> None:
        check_memory(Many(ram), 0, 2 * M)
        check_memory(pw.CachedMemory(Many(ram)), 0, 2 * M)
        many: Any = Many(ram)
        for wrong in (lambda paddrs, size: [bytes(size) for _ in paddrs], lambda paddrs, size: [None for _ in paddrs]):
            many.read_many = wrong
            with pytest.raises(AssertionError, match="broken promise: read_many answers"):
                check_memory(many, 0, 2 * M)
