"""Single entries: golden ones mean what they must, and whatever is made of an entry is read back as it was.

Entries of each row are drawn with a seed: the row's bits as they must be, the others at random.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.formats.bits import EVERY, Pattern, left_over
from pagewalk.formats.fields import KEY, MEMORY, SWAP_TYPE
from pagewalk.testing.definition import deepest, every_level, real_levels
from pagewalk.testing.golden import FLAGS, Golden, meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from pagewalk.formats import Level, PagingFormat, Row

__all__ = ["SAMPLES", "check_golden", "check_round_trips", "check_splits", "drawn_entry", "entries_of"]

SAMPLES = 12
_PAGES = (Kind.PRESENT, Kind.PROT_NONE)


class _Place(NamedTuple):
    """Where something is checked, for messages."""

    form: PagingFormat
    level: Level

    def says(self, entry: int, why: str) -> AssertionError:
        """The complaint about an entry."""
        row = self.level.decode(entry).row.name
        return AssertionError(f"{self.form.name}, {self.level.manual}, row {row}: {entry:#x} {why}")


# -- golden entries ------------------------------------------------------------------------------------------------


def check_golden(form: PagingFormat, golden: Sequence[Golden]) -> None:
    """Check that golden entries mean what they say, one by one and as arrays, and that every bit is set in one.

    Raises:
        AssertionError: One does not, or a bit is never set.
    """
    levels = {level.shift: level for level in real_levels(form)}
    seen = 0
    for one in golden:
        seen |= one.entry
        if one.shift not in levels:
            raise AssertionError(f"{form.name}: no level has entries of {1 << one.shift:#x} bytes ({one.entry:#x})")
        _means(_Place(form, levels[one.shift]), meaning(levels[one.shift], one.entry), one)
    for shift in {one.shift for one in golden}:
        _arrays_agree(_Place(form, levels[shift]), [one.entry for one in golden if one.shift == shift])
    if golden and (never := form.word.mask & ~seen):
        raise AssertionError(f"{form.name}: bits {never:#x} are set in no golden entry")


def _means(place: _Place, found: Golden, wanted: Golden) -> None:
    for name in ("kind", "frame", "flags", "memory", "pkey", "swap", "order"):
        one, other = getattr(found, name), getattr(wanted, name)
        if one != other:
            raise place.says(wanted.entry, f"has {name} {told(one)}; {wanted.source or 'it should'}: {told(other)}")
        if name == "kind" and wanted.kind in (Kind.NONE, Kind.RESERVED):
            return


def told(value: Any) -> str:
    """A value, for messages."""
    if isinstance(value, Kind):
        return value.label
    if isinstance(value, Flag):
        return _names(int(value))
    return hex(value) if isinstance(value, int) else str(value)


@cache  # a format says a few hundred combinations, a check tells them by the hundred thousand
def _names(flags: int) -> str:
    return "|".join(flag.name or "" for flag in Flag if flag & flags) or "none"


def _arrays_agree(place: _Place, entries: Sequence[int]) -> None:
    """An array of entries is answered as each alone."""
    level, words = place.level, np.array(entries, np.uint64)
    questions: tuple[tuple[str, Callable[[Any], Any]], ...] = (
        ("kind", level.kind),
        ("flags", level.flags),
        ("frame", level.frame),
        ("is_none", level.is_none),
    )
    for name, question in questions:
        for entry, many in zip(entries, question(words).tolist(), strict=True):
            one = question(entry)
            if int(one) != int(many):
                raise place.says(entry, f"has {name} {told(one)} alone, {many:#x} in an array")


# -- entries of a row ----------------------------------------------------------------------------------------------


def drawn_entry(row: Row, before: Sequence[Pattern], rng: Random, mask: int) -> int | None:
    """An entry of a row, in order as far as reserved bits go; None where the rows before it leave none."""
    for _ in range(8):
        pattern = rng.choice(row.when)
        entry = pattern.value | rng.getrandbits(64) & ~pattern.mask & mask
        if rng.random() < 0.5:
            entry = entry & (pattern.mask | row.claimed) | pattern.value
        entry = entry & ~(row.must.mask & ~pattern.mask) | row.must.value
        if row.matches(entry) and not any(one(entry) for one in before):
            return entry
    inside = (Pattern(pattern.mask | EVERY ^ mask, pattern.value) for pattern in row.when)  # no bit beyond the word
    left = next((left for pattern in inside if (left := left_over(before, pattern))), None)
    return None if left is None else left.value


def entries_of(level: Level, rng: Random, mask: int, samples: int = SAMPLES) -> Iterator[tuple[Row, int]]:
    """Each row of a level, and some of its entries."""
    before: list[Pattern] = []
    for row in level.codec.rows:
        for _ in range(samples):
            entry = drawn_entry(row, before, rng, mask)
            if entry is not None:
                yield row, entry
        before += row.when


def check_round_trips(form: PagingFormat, rng: Random) -> None:
    """Check that entries of every row are read, made again and changed without loss, alone and as arrays.

    Raises:
        AssertionError: A row loses something.
    """
    for level in every_level(form):
        place = _Place(form, level)
        drawn = list(entries_of(level, rng, form.word.mask))
        for row, entry in drawn:
            if level.decode(entry).row is not row:
                raise place.says(entry, f"was drawn as one of row {row.name}")
            if level.decode(entry).kind is not Kind.RESERVED and (row.address or row.fields):
                _made_again(place, row, entry)
                _changed(place, row, entry)
        _arrays_agree(place, [entry for _, entry in drawn])
        _arrays_are_made_alike(place, [entry for row, entry in drawn if meaning(level, entry).kind is Kind.PRESENT])
        _public_makers(place, rng)


def _made_again(place: _Place, row: Row, entry: int) -> None:
    """What an entry names and says, made again, says the same."""
    codec = place.level.codec
    address = codec.address(entry, row) if row.address else 0
    said = 0
    for field in row.fields:
        said |= 0 if field.derived else entry & field.mask
    again = codec.make(row, address, said)
    _same(place, meaning(place.level, entry), again, "made again")
    if codec.make(row, address, said & again) != again:
        raise place.says(entry, f"made again is {again:#x}, and made once more another")


def _same(place: _Place, before: Golden, other: int, how: str, without: int = 0) -> None:
    """An entry means what it meant before it was changed, but for some flags."""
    after = meaning(place.level, other)
    one, two = (said._replace(entry=0, flags=said.flags & ~without) for said in (before, after))
    if one == two:
        return
    for name in one._fields:
        if getattr(one, name) != getattr(two, name):
            a, b = told(getattr(one, name)), told(getattr(two, name))
            raise place.says(before.entry, f"has {name} {a}; {how}, as {other:#x}, {b}")


def _changed(place: _Place, row: Row, entry: int) -> None:
    """A flag is set and taken away, and nothing else is."""
    level = place.level
    if row.kind not in (*_PAGES, Kind.SWAP):
        return
    before = meaning(level, entry)
    for field in row.fields:
        state = field.flags & FLAGS & ~Flag.rights()
        if field.derived or not state or len(field.meanings) < 2 or _read_elsewhere(row, state):
            continue  # what no entry of the row could say otherwise stays as it is
        on, off = level.with_flags(entry, state), level.without_flags(entry, state)
        if level.flags(on) & state != state or level.flags(off) & state:
            raise place.says(entry, f"with {told(state)} is {on:#x}, without {off:#x}: the flag does not follow")
        _same(place, before, on, f"with {told(state)}", state)
        _same(place, before, off, f"without {told(state)}", state)
    if row.kind is Kind.PRESENT and level.codec.row(Kind.PROT_NONE.label) is not None:
        _without_rights(place, row, entry)


def _only_read(row: Row) -> Flag:
    """Flags that are read off other bits and have none of their own: nothing can write them."""
    read, written = Flag(0), Flag.rights()
    for field in row.fields:
        read, written = (read | field.flags, written) if field.derived else (read, written | field.flags)
    return read & ~written


def _read_elsewhere(row: Row, state: Flag) -> bool:
    """Whether a flag is read off other bits as well (a derived field)."""
    return any(field.derived and field.flags & state for field in row.fields)


def _without_rights(place: _Place, row: Row, entry: int) -> None:
    level = place.level
    if row.order:
        return
    shut = level.without_rights(entry)
    before, after = meaning(level, entry), meaning(level, shut)
    if after.kind is not Kind.PROT_NONE or after.frame != before.frame:
        raise place.says(entry, f"without rights is {shut:#x}: {after.kind.label}, frame {told(after.frame)}")
    if after.flags & Flag.rights() or (after.flags ^ before.flags) & ~(Flag.rights() | Flag.GLOBAL):
        raise place.says(entry, f"without rights is {shut:#x}: {told(after.flags)}, was {told(before.flags)}")


def _arrays_are_made_alike(place: _Place, entries: Sequence[int]) -> None:
    """An array of pages is changed as each alone."""
    level, words = place.level, np.array(entries, np.uint64)
    if not len(entries):
        return
    flags = np.array([int(level.flags(entry)) & int(FLAGS) for entry in entries], np.uint32)
    frames = np.array([level.frame(entry) for entry in entries], np.uint64)
    pairs: list[tuple[str, Any, list[int]]] = [
        (
            "page",
            level.page(frames, flags),
            [level.page(at, flag) for at, flag in zip(frames.tolist(), flags.tolist(), strict=True)],
        ),
        (
            "with_flags",
            level.with_flags(words, Flag.ACCESSED),
            [level.with_flags(entry, Flag.ACCESSED) for entry in entries],
        ),
        (
            "without_flags",
            level.without_flags(words, Flag.WRITE),
            [level.without_flags(entry, Flag.WRITE) for entry in entries],
        ),
    ]
    for name, many, alone in pairs:
        for entry, one, other in zip(entries, alone, many.tolist(), strict=True):
            if one != other:
                raise place.says(entry, f"gives {name} {one:#x} alone, {other:#x} in an array")


def _public_makers(place: _Place, rng: Random) -> None:
    """``table``, ``page``, ``swap`` and ``none`` make what is read as such."""
    level, codec = place.level, place.level.codec
    if not level.is_none(level.none):
        raise place.says(level.none, "is made as an empty entry, and is not empty")
    for row in codec.rows:
        if row.kind is Kind.TABLE:
            _table(place, row, rng.getrandbits(64) & row.reach)
        if row.name == Kind.PRESENT.label and not row.order:
            for _ in range(SAMPLES):
                _page(place, row, rng)
        if row.kind in (Kind.GUARD, Kind.UFFD_WP) and codec.row(Kind.SWAP.label) is not None:
            _marked(place, row)
        if row.name == Kind.SWAP.label and not row.order:
            for _ in range(SAMPLES):
                _swap(place, row, rng)


def _table(place: _Place, row: Row, paddr: int) -> None:
    entry = place.level.table(paddr)
    found = meaning(place.level, entry)
    if found.kind is not Kind.TABLE or found.frame != paddr or found.flags & Flag.rights() != Flag.rights():
        raise place.says(entry, f"was made to point to {paddr:#x} with all rights: it is {_brief(found)}")


def _page(place: _Place, row: Row, rng: Random) -> None:
    """A page with what its row can say."""
    level, numbers = place.level, {}
    for name in (MEMORY, KEY):
        field = row.field(name)
        if field is not None:
            numbers[name] = rng.choice(sorted(_meanings(field)))
    drawn = drawn_entry(row, (), rng, place.form.word.mask)
    assert drawn is not None
    paddr, flags = rng.getrandbits(64) & row.reach, meaning(level, drawn).flags & ~_only_read(row)
    entry = level.page(paddr, flags, **numbers)
    found = meaning(level, entry)
    memory, key = numbers.get(MEMORY, 0), numbers.get(KEY, 0)
    wanted = Golden(level.shift, entry, Kind.PRESENT, paddr, flags, memory, key, source="it was made with")
    if meaning(level, drawn).kind is Kind.PRESENT:
        _means(place, found, wanted)


def _meanings(field: Any) -> set[int]:
    """The numbers that a field can hold."""
    if field.meanings:
        return {meaning for _, meaning in field.meanings}
    return set(range((field.mask >> field.lowest) + 1))


def _marked(place: _Place, row: Row) -> None:
    entry = place.level.marked(row.name)
    if place.level.decode(entry).row is not row:
        raise place.says(entry, f"was made as {row.name}")


def _swap(place: _Place, row: Row, rng: Random) -> None:
    level = place.level
    field = row.field(SWAP_TYPE)
    assert field is not None
    type_ = rng.randrange((field.mask >> field.lowest) + 1)
    entry = level.codec.make(row, rng.getrandbits(64) & row.reach, field.put(type_))
    if level.decode(entry).row is not row:
        return  # a special type
    type_, offset = level.swap_slot(entry)
    again = level.swap(type_, offset)
    if level.swap_slot(again) != (type_, offset) or meaning(level, again).kind is not Kind.SWAP:
        slot = level.swap_slot(again)
        raise place.says(entry, f"is type {type_}, offset {offset:#x}; made of those, {again:#x} is {slot}")


def _brief(found: Golden) -> str:
    return f"{found.kind.label}, frame {told(found.frame)}, {told(found.flags)}"


# -- splits and groups ---------------------------------------------------------------------------------------------


def check_splits(form: PagingFormat, rng: Random) -> None:
    """Check that a page split, or taken out of its group, maps the same frames with the same rights and state.

    Raises:
        AssertionError: Something is lost.
    """
    for level in map(deepest, every_level(form)):
        place = _Place(form, level)
        for row, entry in entries_of(level, rng, form.word.mask):
            found = meaning(level, entry)
            if found.kind not in _PAGES:
                continue
            if row.order:
                _alone(place, entry, found, rng)
            elif level.below is not None and level.below.codec.row(row.name) is not None:
                _split(place, entry, found)


def _alone(place: _Place, entry: int, found: Golden, rng: Random) -> None:
    level = place.level
    vaddr = rng.getrandbits(64) & -level.span
    alone = level.alone(entry, vaddr)
    after = meaning(level, alone)
    wanted = level.page_at(entry, vaddr)
    if after != found._replace(entry=alone, frame=wanted, order=0):
        became = f"{alone:#x}: {_brief(after)}"
        raise place.says(entry, f"taken out of its group at {vaddr:#x} is {became}; was {_brief(found)}")


def _cannot_be_split(place: _Place, entry: int) -> None:
    """A page that smaller ones have no room to name is refused (PSE-36)."""
    try:
        first, _ = place.level.split(entry)
    except ValueError:
        return
    raise place.says(entry, f"split is {first:#x}: its frame has bits that entries below have no room for")


def _split(place: _Place, entry: int, found: Golden) -> None:
    level = place.level
    below = level.below
    assert below is not None
    assert found.frame is not None
    to = below.codec.row(level.decode(entry).row.name)
    assert to is not None
    if found.frame & ~to.reach:
        _cannot_be_split(place, entry)
        return
    first, step = level.split(entry)
    for at in {0, 1, below.entries // 2, below.entries - 1}:
        part = first + step * at & place.form.word.mask
        after = meaning(below, part)
        wanted = found._replace(shift=below.shift, entry=part, frame=found.frame + at * below.span)
        if after != wanted or below.frame(part) == NO_PADDR:
            raise place.says(
                entry,
                f"split, part {at} is {part:#x}: {_brief(after)}, memory {after.memory}, key {after.pkey}; "
                f"was {_brief(found)}, memory {found.memory}, key {found.pkey}",
            )
