"""The rows of one level at work: what an entry says, and which entry says it.

How it works. Of an entry's bits only some decide what it says: those that rows test, and those of their fields. They
are the *significant* bits, and what an entry says is kept under them once it has been worked out: a second entry that
differs in its frame alone costs one lookup in a dict. Bits that are empty for the NONE row are many, so whether an
entry is empty is compared directly, and only where its significant bits leave that open.

For arrays, ``arrays.py`` has the same answers under the same bits, packed into the index of a table.

Entries that map alike are of one *shape*: the same address bits, the same reserved bits, a group of the same size.
"""

from __future__ import annotations

from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.formats.access import NO_RULES, AccessRules
from pagewalk.formats.bits import ANY, EVERY, Bits, Pattern, joined, run, scattered
from pagewalk.formats.fields import KEY, MEMORY, RIGHTS, SWAP_TYPE, Field
from pagewalk.formats.flags import GRANTED, Flag, Kind, Rights, flags_of
from pagewalk.formats.rows import Row, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pagewalk.formats.fields import Meaning

__all__ = [
    "ATTRIBUTES",
    "ATTRIBUTES_SHIFT",
    "EMPTY",
    "FLAGS",
    "KEY_SHIFT",
    "KINDS",
    "KIND_SHIFT",
    "NUMBER_SHIFTS",
    "SHAPE_SHIFT",
    "Codec",
    "Decoded",
    "Shape",
    "key_of",
    "memory_of",
]

ATTRIBUTES_SHIFT: Final = 16
KIND_SHIFT: Final = 24
SHAPE_SHIFT: Final = 28
"""A *state* is ``flags | attributes << 16 | kind << 24 | shape << 28``, in 32 bits; no state is 0."""
FLAGS: Final = (1 << ATTRIBUTES_SHIFT) - 1 | Flag.KERNEL_EXEC | Flag.GROUPED
"""The flags of a state."""
ATTRIBUTES: Final = 127
KINDS: Final = 15
EMPTY: Final = ATTRIBUTES << ATTRIBUTES_SHIFT
"""The state of an empty entry: its kind is 0."""

KEY_SHIFT: Final = 3
"""*Attributes* are the memory type's number and the key's above it; of a swap entry, its type."""
_WIDEST: Final = {MEMORY: 3, KEY: 4, SWAP_TYPE: 7}
NUMBER_SHIFTS: Final = {MEMORY: 0, KEY: KEY_SHIFT, SWAP_TYPE: 0}
"""Where the numbers of fields stand in attributes."""
_WIDE: Final = 20
"""Bits of a pattern from which on it is compared as a whole."""
_STRAY: Final = Row(Kind.RESERVED, (ANY,), name="no row")
_LIVE: Final = (Kind.PRESENT, Kind.TABLE)
_PAGES: Final = (Kind.PRESENT, Kind.PROT_NONE)


def memory_of(attributes: int) -> int:
    """The number of the memory type in attributes that are not those of swap."""
    return attributes & (1 << KEY_SHIFT) - 1


def key_of(attributes: int) -> int:
    """The number of the protection key in them."""
    return attributes >> KEY_SHIFT


class Shape(NamedTuple):
    """How some rows name a frame.

    Attributes:
        address: Where its address sits; nothing where they name none.
        must: The bits that must have a value.
        order: log2 of the entries that one page spans.
        passing: Bits that are flags as they stand but for a shift to the right, and decide nothing else.
        down: How far they are shifted.
        free: Bits that decide nothing, those that pass among them: whatever they are, an entry of the shape says the
            same.
        describing: Bits that do not tell the kind: whatever they are, an entry of the shape has its kind.
    """

    address: tuple[Bits, ...] = ()
    must: Pattern = ANY
    order: int = 0
    passing: int = 0
    down: int = 0
    free: int = 0
    describing: int = 0


class Decoded(NamedTuple):
    """What every entry says that has the same significant bits.

    Attributes:
        row: Its row.
        kind: Its row's kind, or RESERVED where a field says so.
        flags: Its own rights and state; of a table, the rights that it passes on.
        rights: The rights that it grants, of those that the levels above do.
        attributes: The numbers of its memory type and key, or a swap entry's type.
        shape: The number of its shape.
        said: The flags of its fields alone, a table's too.
        address: The parts of the physical address that it names; empty where it names none.
    """

    row: Row
    kind: Kind
    flags: Flag
    rights: int
    attributes: int
    shape: int
    said: Flag
    address: tuple[Bits, ...]

    @property
    def memory(self) -> int:
        """The number of its memory type."""
        return 0 if self.kind is Kind.SWAP else memory_of(self.attributes)

    @property
    def key(self) -> int:
        """The number of its protection key."""
        return 0 if self.kind is Kind.SWAP else key_of(self.attributes)


class Codec:
    """Reads and makes the entries of one level.

    Args:
        rows: Its rows, in order.
        shift: log2 of the bytes that one entry covers.
        access: What control registers make of rights.

    Attributes:
        is_none: Whether an entry is empty: a bool, or an array of bool.
        significant: The bits that decide what an entry says.
        telling: Those that do for arrays: what a table grants is no matter there.
        wide: Patterns of so many bits that these are not among the telling ones: whether one matches tells as well.
    """

    def __init__(self, rows: Sequence[Row], shift: int, access: AccessRules = NO_RULES) -> None:
        self.rows = settled(rows)
        self.shift = shift
        self.access = access
        self.empties = tuple(pattern for row in self.rows if row.kind is Kind.NONE for pattern in row.when)
        self.is_none: Callable[[Any], Any] = self._is_any_none
        if len(self.empties) == 1:
            self.is_none = self.empties[0].__call__
        self.empty = self.empties[0].value if self.empties else 0
        self.others = tuple(row for row in self.rows if row.kind is not Kind.NONE)
        self.significant = reduce(or_, (_deciding(row) for row in self.others), 0)
        self.wide = tuple(one for row in self.others for one in row.when if one.mask.bit_count() > _WIDE)
        self.telling = reduce(or_, map(self._telling, self.others), 0)
        of_rows = _shapes(self.rows)
        self.shapes = _distinct(of_rows)
        self._numbers = {id(row): self.shapes.index(shape) for row, shape in zip(self.rows, of_rows, strict=True)}
        self._nothing = self._decoded(self.rows[0], self.empty)
        self._known: dict[int, Decoded] = {}
        self._behind: dict[int, Decoded] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """What was learned is learned again."""
        return Codec, (self.rows, self.shift, self.access)

    def _telling(self, row: Row) -> int:
        """The bits of an array's entries that decide whether they are of a row, and what they say."""
        if row.kind is Kind.TABLE:
            return row.tested
        tested = reduce(or_, (pattern.mask for pattern in row.when if pattern not in self.wide), 0)
        return tested | _deciding(row) & ~row.tested

    # -- looking -----------------------------------------------------------------------------------------------------

    def _is_any_none(self, entry: Any) -> Any:
        """Whether an entry is empty, where empty entries have several patterns."""
        first, *rest = self.empties
        empty = first(entry)
        for pattern in rest:
            empty = empty | pattern(entry)
        return empty

    def decode(self, entry: int) -> Decoded:
        """What an entry says."""
        if (found := self._known.get(entry & self.significant)) is not None:
            return found
        return self._nothing if entry == self.empty else self._look(entry)

    def _look(self, entry: int) -> Decoded:
        """What an entry says whose significant bits are new, or those of empty entries as well."""
        if self.is_none(entry):
            return self._nothing
        key = entry & self.significant
        if (found := self._behind.get(key)) is None:
            row = next((row for row in self.others if row.matches(entry)), _STRAY)
            found = self._decoded(row, entry)
            open_ = any(not (key ^ value) & mask & self.significant for mask, value in self.empties)
            (self._behind if open_ else self._known)[key] = found
        return found

    def _decoded(self, row: Row, entry: int) -> Decoded:
        """What an entry of a row says."""
        kind, flags, attributes = row.kind, Flag(0), 0
        rights = Rights.all() if kind in _LIVE else Rights(0)
        for field in row.fields:
            meaning = field.get(entry)
            if meaning is None:
                kind = Kind.RESERVED if field.strict else kind
            elif isinstance(meaning, Rights):
                rights &= meaning
            elif isinstance(meaning, Flag):
                flags |= meaning
            elif field.name in NUMBER_SHIFTS:
                attributes |= meaning << NUMBER_SHIFTS[field.name]
        said, flags = flags, Flag(0) if kind is Kind.TABLE else flags | Flag.GROUPED * bool(row.order)
        if kind in _LIVE:
            flags |= flags_of(rights if kind is Kind.TABLE else self.access.allowed(rights))
        address = row.address if row.names_frame and not flags & Flag.NO_FRAME else ()
        return Decoded(row, kind, flags, int(rights), attributes, self.shape_of(row), said, address)

    def shape_of(self, row: Row) -> int:
        """The number of a row's shape."""
        return self._numbers.get(id(row), 0)

    def left_open(self, shape: int) -> int:
        """The bits of an address that a page of a group takes from the virtual address."""
        found = self.shapes[shape]
        reach = reduce(or_, (part.reach for part in found.address), 0)
        return run(self.shift + found.order - 1, self.shift) & ~reach

    def state(self, entry: int, granted: int = Rights.all()) -> int:
        """The state of an entry below levels that grant some rights."""
        found = self.decode(entry)
        flags = found.flags
        if found.kind is Kind.NONE:
            return EMPTY
        if found.kind in _LIVE:
            flags = flags & ~GRANTED | flags_of(self.access.allowed(found.rights & granted))
        return int(flags) | found.attributes << ATTRIBUTES_SHIFT | found.kind << KIND_SHIFT | found.shape << SHAPE_SHIFT

    def wrong(self, entry: int) -> int:
        """The bits that a present entry must not have so: 0 when it is in order."""
        mask, value = self.decode(entry).row.must
        return (entry ^ value) & mask

    @cached_property
    def visible(self) -> Pattern | None:
        """What tells the entries that the hardware looks at from all others; None if no one pattern does."""
        seen = [row for row in self.others if row.kind in (*_LIVE, Kind.RESERVED)]
        patterns = [pattern for row in seen for pattern in row.when]
        mask = reduce(lambda common, pattern: common & pattern.mask, patterns, EVERY)
        alike = reduce(lambda common, pattern: common & ~(pattern.value ^ patterns[0].value), patterns, mask)
        common = Pattern(alike, patterns[0].value & alike) if patterns else ANY
        hidden = [pattern for row in self.rows if row not in seen for pattern in row.when]
        return common if alike and not any(pattern.meets(common) for pattern in hidden) else None

    @cached_property
    def table_patterns(self) -> tuple[Pattern, ...]:
        """What tells entries that point to tables; no row before theirs may claim one (``check`` sees to that)."""
        return tuple(pattern for row in self.rows if row.kind is Kind.TABLE for pattern in row.when)

    @cached_property
    def grouped(self) -> tuple[Pattern, ...]:
        """What present pages of groups look like."""
        return tuple(pattern for row in self.rows if row.order and row.kind is Kind.PRESENT for pattern in row.when)

    @cached_property
    def suspects(self) -> tuple[Pattern, ...]:
        """What reserved encodings look like: those of rows, and values of strict fields that mean nothing."""
        found = [pattern for row in self.rows if row.kind is Kind.RESERVED for pattern in row.when]
        for row in self.rows:
            for field in row.fields:
                if field.strict:
                    gaps = [bits for bits in _values(field.mask) if bits not in field.known]
                    found += [
                        one.both(gap)
                        for one in row.when
                        for bits in gaps
                        if one.meets(gap := Pattern(field.mask, bits))
                    ]
        return tuple(found)

    @cached_property
    def shared_entries(self) -> tuple[Pattern, ...]:
        """What entries look like that are alike in all of a group: the virtual address tells its pages apart."""
        groups = [row for row in self.rows if row.order and self.left_open(self.shape_of(row))]
        return tuple(pattern for row in groups for pattern in row.when)

    # -- making ------------------------------------------------------------------------------------------------------

    def row(self, name: str) -> Row | None:
        """The row of a name that spans one entry; None if this level has none."""
        return next((row for row in self.rows if row.name == name and not row.order), None)

    def make(self, row: Row, address: Any = 0, said: Any = 0) -> Any:
        """An entry of a row.

        Args:
            row: The row.
            address: What it names: an int, or an array.
            said: The bits of its fields, each in its place.
        """
        entry = said | row.must.value | row.sets
        if row.address:
            entry = entry | scattered(row.address, address)
        return self._completed(row, entry)

    def _completed(self, row: Row, entry: Any) -> Any:
        """An entry with the bits by which it is known: the first of the row's patterns that the others agree with."""
        if len(row.when) == 1:
            return entry | row.when[0].value
        owned = row.claimed & (EVERY ^ row.tested) | reduce(or_, (field.mask for field in row.fields), 0)
        if isinstance(entry, int):
            fits = (one for one in row.when if not (entry ^ one.value) & one.mask & owned)
            return entry | next(fits, row.when[0]).value
        each = entry & 0 | 1
        undecided, chosen = each, entry & 0
        for mask, value in row.when:
            fits = each * ((entry ^ value) & (mask & owned) == 0) * undecided
            undecided, chosen = undecided - fits, chosen | fits * value
        return entry | chosen | undecided * row.when[0].value

    def switch(self, flags: Flag) -> tuple[int, int] | None:
        """Bits that say these flags of a page, and nothing else of it, in every row of pages alike.

        Returns:
            The bits, and how they stand where the flags are set; where they are not, each stands the other way. None
            where there are no such bits.
        """
        mask = on = 0
        for flag in flags:
            if not (fields := self._fields_of(flag)):
                continue  # the format has no such flag
            (one, *others) = {None if field.derived else _switch(field, flag) for field in fields}
            if one is None or others:
                return None
            mask, on = mask | one[0], on | one[1]
        return mask, on

    def _fields_of(self, flag: Flag) -> list[Field]:
        """The fields of pages' rows that leave it open whether a page has a flag."""
        rows = [row for row in self.rows if row.kind in _PAGES]
        if flag in Flag.rights():
            return [field for row in rows if row.kind is Kind.PRESENT and (field := row.field(RIGHTS))]
        return [field for row in rows for field in row.fields if flag in field.flags and len(field.meanings) > 1]

    def converted(self, entry: Any, row: Row, to: Row, address: Any) -> Any:
        """An entry of one row as that of another: its address, its fields, and the bits that nobody looks at there.

        Args:
            entry: The entry, or an array of entries of the row.
            row: Its row.
            to: The other row, of this level.
            address: What it shall name.
        """
        said = entry & (EVERY ^ to.claimed)
        for field in to.fields:
            if field.derived:
                continue
            was = row.field(field.name)
            if was is None:
                bits = field.unasked
            elif was.mask == field.mask:
                bits = entry & field.mask
            else:
                bits = _moved(was, field, entry)
            said = said | bits & (EVERY ^ to.fixed)
        return self.make(to, address, said)

    def address(self, entry: Any, row: Row) -> Any:
        """What an entry of a row names."""
        return joined(row.address, entry)


def _moved(was: Field, field: Field, entry: Any) -> Any:
    """A field's bits where they stand in another row."""
    if isinstance(entry, int):
        meaning = was.get(entry)
        return field.unasked if meaning is None else field.put(meaning)
    return sum(((entry & was.mask == bits) * 1) * field.put(meaning) for bits, meaning in was.meanings)


def _switch(field: Field, flag: Flag) -> tuple[int, int] | None:
    """The bit of a field that says a flag alone, and how it stands where the flag is set; None: there is none."""
    for place in (1 << at for at in range(64) if field.mask >> at & 1):
        pairs = [(bits, bits | place) for bits in field.known if not bits & place]
        if len(pairs) * 2 != len(field.known) or any(more not in field.known for _, more in pairs):
            continue
        changes = {(_flags(field.known[less]), _flags(field.known[more])) for less, more in pairs}
        if all(less ^ more == flag for less, more in changes):
            sets = {flag in more for _, more in changes}
            if len(sets) == 1:
                return place, place if sets.pop() else 0
    return None


def _flags(meaning: Meaning) -> Flag:
    """What a field's value says, as flags."""
    return flags_of(int(meaning)) if isinstance(meaning, Rights) else Flag(meaning)


def _values(mask: int) -> list[int]:
    """Every value of some bits."""
    values, value = [0], 0
    while value := (value - mask) & mask:
        values.append(value)
    return values


def _deciding(row: Row) -> int:
    """The bits that decide whether an entry is of a row, and what it says."""
    return row.tested | reduce(
        or_, (field.mask for field in row.fields if field.meanings or field.name in NUMBER_SHIFTS), 0
    )


def _decides(row: Row, before: Sequence[Row]) -> tuple[int, int, int]:
    """What tells an entry of a row: the bits that decide, those that pass as flags, and how far down these go.

    Accessed and dirty differ from entry to entry more often than others: where they pass they need not be looked up.
    All that no row before looks at, where the other bits would let it match, decides nothing.
    """
    groups: dict[int, int] = {}
    for field in row.fields:
        if (place := _place(field, row)) is not None:
            groups[place] = groups.get(place, 0) | field.mask & ~row.tested
    down = max(groups, key=lambda place: groups[place].bit_count(), default=0)
    passing = groups.get(down, 0)
    decides = _with_those_before(row, before, _deciding(row) & ~passing)
    return decides, passing & ~decides, down


def _with_those_before(row: Row, before: Sequence[Row], decides: int) -> int:
    """Bits that decide something of an entry of a row, and those by which a row before may claim it."""
    for pattern in (pattern for other in before for pattern in other.when):
        seen = Pattern(pattern.mask & decides, pattern.value & decides)
        if any(seen.meets(one) for one in row.when):
            decides |= pattern.mask
    return decides


def _tells_kind(row: Row) -> int:
    """The bits by which an entry is of a row, and of which no value is reserved: they tell its kind."""
    return row.tested | reduce(or_, (field.mask for field in row.fields if field.strict), 0)


def _place(field: Field, row: Row) -> int | None:
    """How far down a field's bit has to go to be its flag of state; None if it is no such bit."""
    shared = any(field.mask & other.mask for other in row.fields if other is not field)
    if shared or field.system or field.known.get(field.mask) not in (Flag.ACCESSED, Flag.DIRTY):
        return None
    if len(field.meanings) != 2:
        return None
    down = field.lowest + 1 - field.flags.bit_length()
    return down if down >= 0 else None


def _shapes(rows: Sequence[Row]) -> list[Shape]:
    """The shape of each row."""
    shapes: list[Shape] = []
    free: dict[Shape, int] = {}
    describing: dict[Shape, int] = {}
    for at, row in enumerate(rows):
        decides, *passing = _decides(row, rows[:at]) if row.address else (EVERY, 0, 0)
        kind = _with_those_before(row, rows[:at], _tells_kind(row)) if row.address else EVERY
        shapes.append(shape := Shape(row.address, row.must, row.order, *passing))
        free[shape] = free.get(shape, EVERY) & ~decides
        describing[shape] = describing.get(shape, EVERY) & ~kind
    return [shape._replace(free=free[shape], describing=describing[shape]) for shape in shapes]


def _distinct(of_rows: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shapes of a level, that of rows that name nothing first."""
    found = tuple(dict.fromkeys((Shape(), *of_rows)))
    if len(found) > 8:
        raise ValueError(f"a level has 8 shapes of rows at most, not {len(found)}")
    return found
