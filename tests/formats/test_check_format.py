"""``check_format``: every format passes, and a format with a mistake in it does not, and is told where."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from pagewalk.errors import UnsupportedError
from pagewalk.formats import FORMATS, Kind, Pattern, Row, find_format, systems_of
from pagewalk.formats.fields import KEY, MEMORY, RIGHTS, SWAP_TYPE
from pagewalk.testing import check_format
from tests.formats.golden_files import golden
from tests.reference.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats import Level, PagingFormat

ENGINES = ["numpy", *(["numba"] if importlib.util.find_spec("numba") else [])]

ASKED = (RIGHTS, MEMORY, KEY, SWAP_TYPE)


def check(form: PagingFormat, name: str, rounds: int) -> None:
    check_format(form, golden=golden(name), reference=FAMILIES[name], rounds=rounds)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_passes(name, engine, monkeypatch):
    monkeypatch.setenv("PAGEWALK_ENGINE", engine)
    check(find_format(name), name, rounds=20)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "os",
    ["linux-3.10", "linux-4.14", "linux-5.10", "linux-6.1", "linux-6.12", "linux-7.2", "linux-7.3", "windows", "none"],
)
def test_every_system_passes(name, os):
    """Without golden entries: they are the newest kernel's."""
    if os.partition("-")[0] not in systems_of(name):
        with pytest.raises(UnsupportedError, match=f"{name}.*{os}"):
            find_format(name, os)
    else:
        check_format(find_format(name, os))


# -- mistakes ------------------------------------------------------------------------------------------------------


def with_rows(form: PagingFormat, level: Level, rows: list[Row]) -> PagingFormat:
    """The format, one level of it with other rows."""
    fresh: Any = {"rows": tuple(rows), "codec": None}
    changed = [replace(one, **fresh) if one.shift == level.shift else one for one in form.hardware]
    return replace(form, hardware=tuple(changed))


def with_row(form: PagingFormat, level: Level, row: Row, **changes: Any) -> PagingFormat:
    """The format, one row of one level changed."""
    return with_rows(form, level, [replace(one, **changes) if one is row else one for one in level.rows])


def without_a_row(form: PagingFormat) -> Iterator[tuple[str, PagingFormat]]:
    """Each row left out, but those that only tell two of a kind apart by name."""
    for level in form.hardware:
        for row in level.rows:
            rest = [one for one in level.rows if one is not row]
            alike = any((one.kind, one.address) == (row.kind, row.address) for one in rest)
            if not alike:
                yield f"{level.manual}-{row.name}", with_rows(form, level, rest)


def without_a_field(form: PagingFormat) -> Iterator[tuple[str, PagingFormat]]:
    """Each field left out that can say two things."""
    for level in form.hardware:
        for row, settled in zip(level.rows, level.codec.rows, strict=True):
            for field, said in zip(row.fields, settled.fields, strict=True):
                several = len({meaning for _, meaning in said.meanings}) != 1 and (said.flags or field.name in ASKED)
                if row.kind in (Kind.PRESENT, Kind.PROT_NONE, Kind.SWAP) and several:
                    rest = tuple(one for one in row.fields if one is not field)
                    yield f"{level.manual}-{row.name}-{field.name}", with_row(form, level, row, fields=rest)


def with_a_wrong_bit(form: PagingFormat, rng: Random) -> Iterator[tuple[str, PagingFormat]]:
    """A bit more or less in an address, in what a row tests, in what must be so."""
    for level in form.hardware:
        for row in level.rows:
            place = 1 << rng.randrange(64)
            where = f"{level.manual}-{row.name}-{place:#x}"
            if row.kind in (Kind.PRESENT, Kind.TABLE) and row.address:
                part = row.address[0]
                for bit in (1 << part.mask.bit_length() - 1, part.mask & -part.mask):
                    less = (part._replace(mask=part.mask & ~bit), *row.address[1:])
                    yield f"{where}-address-{bit:#x}", with_row(form, level, row, address=less)
                if row.must.mask:
                    bit = row.must.mask & -row.must.mask
                    must = Pattern(row.must.mask & ~bit, row.must.value & ~bit)
                    yield f"{where}-must-{bit:#x}", with_row(form, level, row, must=must)
            if row.kind is not Kind.NONE:
                pattern = row.when[0]
                bit = pattern.mask & -pattern.mask
                flipped = (Pattern(pattern.mask, pattern.value ^ bit), *row.when[1:])
                yield f"{where}-when-{bit:#x}", with_row(form, level, row, when=flipped)
            free = row.ignored or 0
            if free:
                yield f"{where}-ignored", with_row(form, level, row, ignored=free & (free - 1))


def caught(form: PagingFormat, name: str) -> str | None:
    """The complaint about a format, which says where; None if it passes."""
    try:
        check(form, name, rounds=6)
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ["x86-64", "arm64-4k", "arm64-16k-lpa2", "riscv-sv39"])
class TestMistakes:
    def test_a_row_left_out(self, name):
        missed = [what for what, form in without_a_row(find_format(name)) if not caught(form, name)]
        assert missed == []

    @pytest.mark.slow
    def test_a_field_left_out(self, name):
        missed = [what for what, form in without_a_field(find_format(name)) if not caught(form, name)]
        assert missed == []

    def test_a_wrong_bit(self, name):
        planted = list(with_a_wrong_bit(find_format(name), Random(name)))
        missed = [what for what, form in planted if not caught(form, name)]
        assert len(planted) > 40
        assert missed == []

    def test_two_rows_that_claim_one_entry(self, name):
        form = find_format(name)
        level = form.hardware[-1]
        second = Row(Kind.OTHER, (Pattern(1 << 62 | 1, 1 << 62),), name="second")
        complaint = caught(with_rows(form, level, [level.rows[0], second, *level.rows[1:]]), name)
        assert complaint is not None
        assert "rows second and " in complaint
        assert "both claim 0x" in complaint

    def test_a_row_that_nothing_reaches(self, name):
        form = find_format(name)
        level = form.hardware[-1]
        again = replace(level.rows[-1], name="again")
        complaint = caught(with_rows(form, level, [*level.rows, again]), name)
        assert complaint is not None
        assert "row again never matches" in complaint

    def test_a_golden_entry_that_is_wrong(self, name):
        rows = [one for one in golden(name) if one.kind is Kind.PRESENT]
        wrong = [one._replace(frame=(one.frame or 0) + (1 << one.shift)) for one in rows[:1]]
        with pytest.raises(AssertionError, match=rf"{wrong[0].entry:#x} has frame 0x"):
            check_format(find_format(name), golden=wrong)

    def test_a_golden_bit_that_never_occurs(self, name):
        few = [one for one in golden(name) if not one.entry >> 62 & 1]
        with pytest.raises(AssertionError, match="are set in no golden entry"):
            check_format(find_format(name), golden=few)
