"""What the library returns it takes back, and what is no number it refuses: every public function, every argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from tests.arguments import BASE, CALLS, NOT_INTEGERS, OPTIONAL, WIDE, Call, _Machine, spellings
from tests.world import PAGE, World

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENTED = (pw.PagewalkError, TypeError, ValueError, OSError)
PLACES = [pytest.param(call, name, id=f"{call}-{name}") for call in CALLS for name in call.numbers]


def outcome(call: Call, stage: Any, **changed: Any) -> Any:
    """What a call gave or how it was refused."""
    try:
        return "gave", call.call(stage, **call.numbers | changed)
    except DOCUMENTED as error:
        return type(error), str(error)


def played(call: Call, **changed: Any) -> Any:
    """The outcome of a call, and what it left, which must be in order."""
    stage = call.stage()
    result = outcome(call, stage, **changed), call.state(stage)
    call.close(stage)
    return result


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_good_numbers_are_good(call: Call) -> None:
    assert played(call)[0][0] == "gave", played(call)[0]


@pytest.mark.parametrize(("call", "name"), PLACES)
def test_a_numpy_integer_is_as_good_as_a_plain_one(call: Call, name: str) -> None:
    """Everything the library returns it takes back."""
    plain = played(call)
    for value in spellings(call.numbers[name]):
        assert played(call, **{name: value}) == plain, repr(value)


@pytest.mark.parametrize(("call", "name"), PLACES)
def test_what_is_no_integer_is_refused(call: Call, name: str) -> None:
    """Never rounded, and nothing changes."""
    stage = call.stage()
    before = call.state(stage)
    nothing = [] if name in OPTIONAL.get(call.name, ()) else [None]
    for value in [*NOT_INTEGERS, *nothing]:
        result = outcome(call, stage, **{name: value})
        assert result[0] in (TypeError, ValueError), (value, result)
        assert "\n" not in result[1], value
    assert call.state(stage) == before or call.name == "writeprotect"  # its registration comes first
    call.close(stage)


@pytest.mark.parametrize(("call", "name"), PLACES)
def test_a_wide_or_negative_number_ends_as_documented(call: Call, name: str) -> None:
    """Not in a MemoryError or an OverflowError, nor in thousands of digits."""
    stage = call.stage()
    for value in WIDE:
        result = outcome(call, stage, **{name: value})
        assert result[0] == "gave" or len(result[1]) < 400, result
    call.close(stage)


@pytest.mark.parametrize(("call", "name"), PLACES)
def test_a_wide_number_of_numpys_ends_as_a_plain_one(call: Call, name: str) -> None:
    assert played(call, **{name: np.uint64(2**63)}) == played(call, **{name: 2**63})
    assert played(call, **{name: np.int64(-PAGE)}) == played(call, **{name: -PAGE})


OF_A_MACHINE = [call for call in CALLS if call.stage is _Machine and call.name != "Machine"]


@st.composite
def changed_calls(draw: st.DrawFn) -> tuple[Call, dict[str, int]]:
    """A call on a machine, some of its numbers good, some odd."""
    call = draw(st.sampled_from(OF_A_MACHINE))
    odd = st.one_of(st.sampled_from([BASE, BASE + PAGE, 0, PAGE, 3 * PAGE]), st.sampled_from(WIDE[:6]))
    names = draw(st.sets(st.sampled_from(sorted(call.numbers))))
    return call, {name: draw(odd) for name in names}


def _play_all(calls: Iterable[tuple[Call, dict[str, Any]]]) -> list[Any]:
    stage = _Machine()
    results = [outcome(call, stage, **changed) for call, changed in calls]
    result = [*results, stage.state()]
    stage.close()
    return result


@settings(max_examples=40, deadline=None)
@given(st.lists(changed_calls(), max_size=6), st.randoms(use_true_random=False))
def test_many_calls_with_numpy_integers_leave_what_plain_ones_leave(
    calls: list[tuple[Call, dict[str, int]]], random: Any
) -> None:
    """And the books are right, and all frames come back (``close``)."""
    spelt = [
        (call, {name: random.choice([value, *spellings(value)]) for name, value in (call.numbers | changed).items()})
        for call, changed in calls
    ]
    assert _play_all(spelt) == _play_all(calls)


class TestRows:
    """Rows are taken back as they are given, in both halves of the address space."""

    @pytest.mark.parametrize("at", [BASE, (1 << 64) - PAGE])
    def test_a_row(self, at: int) -> None:
        world = World()
        world.map(at, PAGE)
        (row,) = pw.mappings(world.tables)
        assert world.tables.translate(row["vaddr"]).paddr == row["paddr"]
        assert pw.translate(world.tables, [row["vaddr"]])[0].tolist() == [PAGE]
        if at == BASE:
            assert pw.mappings(world.tables, row["vaddr"], row["vaddr"] + row["size"]).tolist() == [row.tolist()]
        assert len(world.memory.read(row["paddr"], row["size"])) == PAGE

    def test_the_sum_of_two_is_no_float(self) -> None:
        """An int64 and a uint64 together are a float64 to NumPy: that is refused, not rounded."""
        with pytest.raises(TypeError, match="end must be an integer"):
            pw.holes(World().tables, 0, np.uint64(PAGE) + np.float64(0))  # type: ignore[arg-type]


class TestArrays:
    """Arrays of integers, of any width, however they lie in memory."""

    @pytest.fixture
    def world(self) -> World:
        world = World()
        world.map(BASE, PAGE)
        world.map((1 << 64) - PAGE, 2 * PAGE)
        return world

    @pytest.mark.parametrize(
        "vaddrs",
        [
            np.array([BASE, 0], np.int64),
            np.array([BASE, 0], ">u8"),
            np.array([BASE, 7, 0, 7], np.uint32)[::2],
            range(BASE, -1, -BASE),
            (BASE, np.uint64(0)),
            [np.int64(BASE), False + 0],
        ],
    )
    def test_taken(self, world: World, vaddrs: Any) -> None:
        assert pw.translate(world.tables, vaddrs)[0].tolist() == [PAGE, pw.NO_PADDR]

    def test_large_and_small_together(self, world: World) -> None:
        """NumPy alone makes floats of a list with both."""
        both = [(1 << 64) - PAGE + 7, BASE + 7]
        assert pw.translate(world.tables, both)[0].tolist() == [2 * PAGE + 7, PAGE + 7]

    @pytest.mark.parametrize(
        "vaddrs",
        [
            *(5, np.uint64(5), np.array(5), "4096", b"4096", None, [4096.9], ["4096"], [[1]], [None], [True]),
            *(np.array([1.0]), np.array([[1]]), np.array([1], object), np.array(["1"]), np.array([True])),
            *([-1], np.array([-1]), [1 << 64]),
        ],
        ids=repr,
    )
    def test_refused(self, world: World, vaddrs: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            pw.translate(world.tables, vaddrs)


class TestMakingEntries:
    """A format's entries are made of arrays too; of single numbers it takes what every function takes."""

    @pytest.mark.parametrize("name", ["x86-64", "x86-64-la57"])
    def test_of_numpy_integers(self, name: str) -> None:
        form = pw.find_format(name)
        for paddr in spellings(4096):
            for flags in spellings(7):
                assert form.leaf_entry(paddr, flags) == form.leaf_entry(4096, 7)
            assert form.table_entry(paddr) == form.table_entry(4096)

    @pytest.mark.parametrize("value", [value for value in NOT_INTEGERS if getattr(value, "ndim", 0) == 0])
    def test_of_what_is_none(self, value: Any) -> None:
        form = pw.find_format("x86-64")
        for make in (
            lambda: form.leaf_entry(value, 7),
            lambda: form.leaf_entry(0, value),
            lambda: form.table_entry(value),
        ):
            with pytest.raises((TypeError, ValueError)):
                make()


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: pw.Machine(thp="foo"), "'always', 'madvise', 'never', not 'foo'"),  # type: ignore[arg-type]
        (lambda: pw.Machine(thp=None), "'always', 'madvise', 'never', not None"),  # type: ignore[arg-type]
        (lambda: pw.Machine(hugetlb={4096: 1}), "0x200000 or 0x40000000"),
        (lambda: pw.Machine(hugetlb=[1]), "hugetlb takes pages by size"),  # type: ignore[arg-type]
        (lambda: _Machine().mm.touch(BASE, 1, "exec"), "'read', 'write', not 'exec'"),  # type: ignore[arg-type]
        (lambda: _Machine().mm.write(BASE, "text"), "bytes are needed, not 'text'"),  # type: ignore[arg-type]
        (lambda: _Machine().mm.write(BASE, 5), "bytes are needed, not 5"),  # type: ignore[arg-type]
        (lambda: pw.Ram(4096).write(0, "text"), "bytes are needed"),  # type: ignore[arg-type]
        (lambda: pw.FlatMemory([b"abc"]), r"bytes are needed|a segment is \(start, bytes\)"),  # type: ignore[list-item]
        (lambda: pw.mappings(5), "page tables or an address space are needed, not 5"),  # type: ignore[arg-type]
        (lambda: pw.PageTables(pw.Ram(4096), 0, 5), "a paging format or its name is needed"),  # type: ignore[arg-type]
        (lambda: pw.mappings(World().tables, frames=(PAGE, 0)), "not a physical range"),
    ],
)
def test_what_is_refused_says_what_is_wanted(ask: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        ask()


def test_a_file_of_another_machine_is_refused() -> None:
    """Its frames are not here: to map it would give away somebody else's."""
    mine, other = _Machine(), _Machine()
    for ask in (
        lambda: mine.mm.mmap(PAGE, 3, pw.MAP_SHARED, file=other.file),
        lambda: mine.machine.truncate(other.file, 0),
        lambda: mine.machine.punch_hole(other.file, 0, PAGE),
    ):
        with pytest.raises(pw.SystemCallError, match="another machine"):
            ask()
    mine.close()
    other.close()
