"""Walk, sweep and a slow reference say the same of the same tables."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.errors import Malformed, NotPresent, ReservedBits, TranslationError
from pagewalk.formats import NO_PADDR, Flag, Kind, Rights
from pagewalk.formats.flags import GRANTED, flags_of
from pagewalk.sweep import holes, mappings, translate
from pagewalk.testing.definition import real_levels
from pagewalk.testing.entries import SAMPLES, entries_of, told
from pagewalk.testing.golden import Golden, meaning
from pagewalk.walk import WalkOps, walk_page_range_novma

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from pagewalk.formats import Level, PagingFormat, Window
    from pagewalk.testing.drawn import Drawn
    from pagewalk.testing.reference import Found, Reference, Said, Walker

__all__ = ["check_against", "check_meaning", "check_meanings"]

_RAISES: Final = {"reserved": ReservedBits, "outside": Malformed}
_PAGES: Final = ("present", "prot_none")


class _Row(NamedTuple):
    """One entry of a listing."""

    vaddr: int
    size: int
    entry: int
    kind: str
    paddr: int | None
    rights: str
    depth: int
    memory: int
    pkey: int

    def __str__(self) -> str:
        frame = "no frame" if self.paddr is None else f"{self.paddr:#x}"
        return (
            f"{self.vaddr:#x} +{self.size:#x}: {self.kind} {self.entry:#x}, {frame}, {self.rights}, "
            f"depth {self.depth}, memory {self.memory}, key {self.pkey}"
        )


def check_meanings(form: PagingFormat, reference: Reference, rng: Random, golden: Sequence[Golden] = ()) -> None:
    """Check entries of every row, random ones, and the golden ones of all levels at every level, against the reference.

    Raises:
        AssertionError: They differ on one.
    """
    for layered in sorted({window.layered for window in form.windows} | {True}):
        for level in real_levels(form, layered=layered):
            drawn = [entry for _, entry in entries_of(level, rng, form.word.mask, 3 * SAMPLES)]
            drawn += [rng.getrandbits(64) & form.word.mask for _ in range(40)]
            drawn += [one.entry for one in golden]
            for entry in drawn:
                check_meaning(form, level, entry, reference, layered=layered)


def check_meaning(form: PagingFormat, level: Level, entry: int, reference: Reference, *, layered: bool = True) -> None:
    """Check what one entry of a level means, in a window that is layered or not.

    Raises:
        AssertionError: The reference says otherwise.
    """
    said = _said(reference, form, level.shift, entry, layered=layered)
    mine, theirs = meaning(level, entry), _golden(level, entry, said)
    for name in ("kind", "frame", "flags", "memory", "pkey", "swap", "order"):
        one, other = getattr(mine, name), getattr(theirs, name)
        if one != other:
            where = f"{form.name}, {level.manual}, row {level.decode(entry).row.name}"
            raise AssertionError(f"{where}: {entry:#x} has {name} {told(one)}; the reference: {told(other)}")


class _Absent(NamedTuple):
    """What an entry means that is neither empty nor for the MMU, where the operating system says nothing of it."""

    kind: str = "other"
    frame: int | None = None
    flags: tuple[str, ...] = ()
    memory: int = 0
    pkey: int = 0
    swap: tuple[int, int] | None = None
    order: int = 0


def _said(reference: Reference, form: PagingFormat, shift: int, entry: int, *, layered: bool) -> Said:
    """A reference's word: of a window that is not layered, only what it says of the hardware.

    There it is asked as if the bits that are left to software were clear.
    """
    said = reference.meaning(shift, entry)
    if layered or said.kind in ("none", "table", "reserved"):
        return said
    return reference.meaning(shift, entry & ~_systems(form, shift)) if said.kind == "present" else _Absent()


def _systems(form: PagingFormat, shift: int) -> int:
    """The bits of pages of a level that are the operating system's."""
    rows = [row for level in form.hardware if level.shift == shift for row in level.rows if row.kind is Kind.PRESENT]
    return reduce(or_, (field.mask for row in rows for field in row.fields if field.system), 0)


def _golden(level: Level, entry: int, said: Said) -> Golden:
    """A reference's word, in ours."""
    flags = Flag(0)
    for name in said.flags:
        flags |= Flag[name]
    kind = Kind[said.kind.upper()]
    return Golden(level.shift, entry, kind, said.frame, flags, said.memory, said.pkey, said.swap, said.order)


def check_against(drawn: Drawn, reference: Reference, rng: Random) -> None:
    """Check what the engines say of drawn tables, around everything that was put there.

    Raises:
        AssertionError: One differs from the reference.
    """
    for place in drawn.places[:6]:
        window = drawn.window_of(place)
        walker = reference.walker(drawn.word, window)
        start, end = _range(drawn, window, place, rng)
        found = list(walker.everything(start, end))
        wanted = _wanted(reference, drawn.form, found, start, end, layered=window.layered)
        _listing(drawn, wanted, found, start, end)
        _runs(drawn, wanted, start, end)
        _holes(drawn, found, start, end)
        _walk(drawn, wanted, found, start, end)
        _translations(drawn, walker, [place, start, end - 1, place + rng.randrange(drawn.form.page_size)], window)


def _range(drawn: Drawn, window: Window, place: int, rng: Random) -> tuple[int, int]:
    """Some pages around a place."""
    page = drawn.form.page_size
    start = max(window.start, place - rng.choice((0, 0, 1, 3, 16)) * page)
    return start, min(window.end, start + rng.choice((1, 2, 20, 40, 300)) * page)


def _wanted(
    reference: Reference, form: PagingFormat, found: Sequence[Found], start: int, end: int, *, layered: bool
) -> list[_Row]:
    """The rows that the reference asks for."""
    rows = []
    for one in found:
        if one.what not in ("leaf", "absent"):
            continue
        begin = max(one.vaddr, start)
        size = min(one.vaddr + one.size, end) - begin
        said = _said(reference, form, one.size.bit_length() - 1, one.entry, layered=layered)
        paddr, rights = said.frame, "none"
        if one.what == "leaf":
            paddr = one.paddr + begin - one.vaddr
            rights = told(flags_of(_as_rights(one.rights)))
        elif paddr is not None and said.kind == "prot_none" and not said.order:
            paddr += begin - one.vaddr
        elif said.order or begin != one.vaddr:
            paddr = None  # the reference does not say
        rows.append(_Row(begin, size, one.entry, said.kind, paddr, rights, one.depth, said.memory, said.pkey))
    return rows


def _as_rights(rights: Sequence[bool]) -> Rights:
    """Six booleans as rights."""
    return Rights(sum(1 << at for at, granted in enumerate(rights) if granted))


def _listing(drawn: Drawn, wanted: list[_Row], found: Sequence[Found], start: int, end: int) -> None:
    """The sweep's rows, and what it finds wrong."""
    findings: list[TranslationError] = []
    table = mappings(drawn.tables, start, end, coalesce=False, entries=True, findings=findings)
    names = ("vaddr", "size", "entry", "kind", "paddr", "flags", "depth", "memory", "pkey")
    rows = []
    for vaddr, size, entry, kind, paddr, flags, *rest in zip(
        *(getattr(table, name).tolist() for name in names), strict=True
    ):
        frame, rights = None if paddr == NO_PADDR else paddr, told(Flag(flags) & GRANTED)
        rows.append(_Row(vaddr, size, entry, Kind(kind).label, frame, rights, *rest))
    _equal(drawn, "the sweep", rows, wanted)
    _wrong(drawn, "the sweep", findings, found, start)


def _runs(drawn: Drawn, wanted: list[_Row], start: int, end: int) -> None:
    """The rows joined: each page is in one run, which says the same of it."""
    runs = mappings(drawn.tables, start, end, findings=[])
    names = ("vaddr", "size", "kind", "paddr", "flags", "memory", "pkey")
    pages = iter(wanted)
    for vaddr, size, kind, paddr, flags, memory, pkey in zip(
        *(getattr(runs, name).tolist() for name in names), strict=True
    ):
        at = vaddr
        while at < vaddr + size:
            page = next(pages, None)
            frame = None if paddr == NO_PADDR else paddr + (0 if flags & Flag.REPEATED else at - vaddr)
            said = (at, Kind(kind).label, told(Flag(flags) & GRANTED), memory, pkey)
            if page is None or said != (page.vaddr, page.kind, page.rights, page.memory, page.pkey):
                raise AssertionError(f"{drawn.form.name}: joined, {at:#x} is {said[1:]}; the reference: {page}")
            if page.kind == "present" and frame != page.paddr:
                raise AssertionError(f"{drawn.form.name}: joined, {at:#x} is in {told(frame)}; the reference: {page}")
            at += page.size
    if (page := next(pages, None)) is not None:
        raise AssertionError(f"{drawn.form.name}: no run has {page}")


def _equal(drawn: Drawn, who: str, rows: list[_Row], wanted: list[_Row]) -> None:
    """The same rows, but where a frame is not known on one side."""
    for mine, theirs in zip(rows, wanted, strict=False):
        if theirs.paddr is None and mine.kind != "present":
            mine = mine._replace(paddr=None)
        if mine != theirs:
            raise AssertionError(f"{drawn.form.name}: {who} has {mine}; the reference: {theirs}")
    if len(rows) != len(wanted):
        more, other = (who, "the reference") if len(rows) > len(wanted) else ("the reference", who)
        first = max(rows, wanted, key=len)[min(len(rows), len(wanted))]
        raise AssertionError(f"{drawn.form.name}: {more} has {first}; {other} has nothing there")


def _wrong(drawn: Drawn, who: str, findings: Sequence[TranslationError], found: Sequence[Found], start: int) -> None:
    """The same findings: what, where, at which depth."""
    mine = [(type(one).__name__, one.vaddr, one.depth) for one in findings]
    theirs = [(_RAISES[one.what].__name__, max(one.vaddr, start), one.depth) for one in found if one.what in _RAISES]
    if mine != theirs:
        raise AssertionError(f"{drawn.form.name}: {who} finds wrong {_listed(mine)}; the reference: {_listed(theirs)}")


def _listed(findings: Sequence[tuple[str, int, int]]) -> str:
    return ", ".join(f"{name} at {vaddr:#x}, depth {depth}" for name, vaddr, depth in findings) or "nothing"


def _holes(drawn: Drawn, found: Sequence[Found], start: int, end: int) -> None:
    """What is empty, neighbours of one depth joined."""
    wanted: list[tuple[int, int, int]] = []
    for one in found:
        if one.what != "hole":
            continue
        begin = max(one.vaddr, start)
        size = min(one.vaddr + one.size, end) - begin
        if wanted and sum(wanted[-1][:2]) == begin and wanted[-1][2] == one.depth:
            wanted[-1] = (wanted[-1][0], wanted[-1][1] + size, one.depth)
        else:
            wanted.append((begin, size, one.depth))
    gaps = holes(drawn.tables, start, end, findings=[])
    mine = list(zip(*(getattr(gaps, name).tolist() for name in ("vaddr", "size", "depth")), strict=True))
    if mine != wanted:
        first = next(pair for pair in zip([*mine, None], [*wanted, None], strict=False) if pair[0] != pair[1])
        ours, theirs = (_hole(one) for one in first)
        raise AssertionError(f"{drawn.form.name}: the sweep has a hole {ours}; the reference {theirs}")


def _hole(hole: tuple[int, int, int] | None) -> str:
    return "no more" if hole is None else f"{hole[0]:#x} +{hole[1]:#x} depth {hole[2]}"


def _walk(drawn: Drawn, wanted: list[_Row], found: Sequence[Found], start: int, end: int) -> None:
    """The walk's callbacks: each entry that is no table, its frame, what is wrong above the last level."""
    rows: list[tuple[int, int, int, int, str, int | None]] = []

    def entry(entry: Any, addr: int, next_: int, walk: Any) -> None:
        level, value = entry.level, entry.value
        if level.folds or entry.is_table or level.is_none(value) or meaning(level, value).kind is Kind.RESERVED:
            return
        frame = level.page_at(value, addr) if level.is_page(value) else NO_PADDR
        paddr = None if frame == NO_PADDR else frame | addr & level.span - 1
        if level.kind(value) == Kind.PROT_NONE and level.decode(value).row.order:
            paddr = None
        rows.append((addr, next_ - addr, value, level.real_depth, entry.kind.label, paddr))

    findings: list[TranslationError] = []
    ops = WalkOps(pgd_entry=entry, p4d_entry=entry, pud_entry=entry, pmd_entry=entry, pte_entry=entry)
    walk_page_range_novma(drawn.tables, start, end, ops, findings=findings)
    theirs = [
        (one.vaddr, one.size, one.entry, one.depth, one.kind, one.paddr if one.kind in _PAGES else None)
        for one in wanted
    ]
    for one, other in zip([*rows, None], [*theirs, None], strict=False):
        if one != other:
            raise AssertionError(f"{drawn.form.name}: the walk has {_called(one)}; the reference: {_called(other)}")
    page = drawn.form.page_size  # of the last level the walk shows whatever stands there
    upper = [one for one in found if one.what == "outside" or one.size > page]
    _wrong(drawn, "the walk", findings, upper, start)


def _called(row: tuple[int, int, int, int, str, int | None] | None) -> str:
    if row is None:
        return "no more"
    vaddr, size, entry, depth, kind, paddr = row
    frame = "no frame" if paddr is None else f"{paddr:#x}"
    return f"{vaddr:#x} +{size:#x}: {kind} {entry:#x}, {frame}, depth {depth}"


def _translations(drawn: Drawn, walker: Walker, vaddrs: Sequence[int], window: Window) -> None:
    """One address at a time, and all at once, as the MMU would."""
    tables = drawn.tables
    vaddrs = [vaddr for vaddr in vaddrs if window.holds(vaddr)]
    paddrs, mapped = translate(tables, np.array(vaddrs, np.uint64), hardware=True, findings=[])
    for vaddr, paddr, there in zip(vaddrs, paddrs.tolist(), mapped.tolist(), strict=True):
        found = walker.look(vaddr)
        wanted = found.paddr + vaddr - found.vaddr if found.what == "leaf" else None
        many = paddr if there else None
        one = _translated(drawn, vaddr, found)
        if (many, one) != (wanted, wanted):
            raise AssertionError(
                f"{drawn.form.name}: {vaddr:#x} is at {told(wanted)} by the reference ({found.what}, "
                f"{found.entry:#x}); translated alone at {told(one)}, in an array at {told(many)}"
            )


def _translated(drawn: Drawn, vaddr: int, found: Found) -> int | None:
    """Where the scalar translation leads; None where it raises what it must."""
    where = f"{drawn.form.name}: {vaddr:#x}"
    expected = {"hole": NotPresent, "absent": NotPresent, **_RAISES}.get(found.what)
    try:
        page = drawn.tables.translate(vaddr, hardware=True)
    except TranslationError as error:
        if expected is None or not isinstance(error, expected):
            raise AssertionError(f"{where} raises {error!r}; the reference: {found.what}") from error
        return None
    if expected is not None:
        raise AssertionError(f"{where} is translated; the reference: {found.what}")
    rights = told(flags_of(_as_rights(found.rights)))
    if told(page.flags & GRANTED) != rights or page.entry.value != found.entry:
        raise AssertionError(f"{where} grants {told(page.flags & GRANTED)}; the reference: {rights}")
    return page.paddr
