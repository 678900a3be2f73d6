"""BTF: what a Linux kernel says of its own types. Most kernels of distributions carry it in their image.

How it works. The types lie one after the other, each as long as its kind and its number of members say: one pass finds
where they begin. A type is then found by its name's place among the strings, all of them compared at once. Whatever the
text says of offsets and numbers is checked where it is used: it may be hostile.

Source: ``Documentation/bpf/btf.rst``, ``include/uapi/linux/btf.h``, Linux 6.18.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pagewalk.errors import PagewalkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["HEADER", "MAGIC", "Btf", "BtfError", "Field", "size_of_btf"]

MAGIC: Final = 0x0001_EB9F
"""The first word: the magic number, version 1, no flags."""
HEADER: Final = struct.Struct("<IIIIII")
"""Magic, size of the header; offset and size of the types, and of the strings, behind the header."""
LARGEST: Final = 16 << 20
"""Bytes; a kernel refuses what has more (``BTF_MAX_SIZE``)."""
SMALLEST: Final = 64 << 10
"""Bytes; what a module has is smaller, and is of no use without the kernel's."""

INT, POINTER, ARRAY, STRUCT, UNION, ENUM = range(1, 7)
TYPEDEF, VOLATILE, CONST, RESTRICT, FUNCTION = range(8, 13)
FLOAT, TYPE_TAG, ENUM64 = 16, 18, 19
_NAMES: Final = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
"""Kinds that only lead to another type."""
_SIZED: Final = (INT, STRUCT, UNION, ENUM, FLOAT, ENUM64)
_FIXED: Final = {INT: 1, ARRAY: 3, 14: 1, 17: 1}
"""Words behind the first three, by kind: of an integer, an array, a variable, a tag."""
_EACH: Final = {STRUCT: 3, UNION: 3, 15: 3, ENUM64: 3, ENUM: 2, 13: 2}
"""Words for each member: of structures and unions, a section, enumerations, the parameters of a function."""
_KINDS: Final = 20
_DEEPEST: Final = 32
_MOST: Final = 1 << 16
"""Members of a structure, those of nameless ones within it too."""
_POINTER: Final = 8
_WIDEST: Final = 1 << 31


class BtfError(PagewalkError):
    """What is no BTF, or does not have what is asked for."""


class Field(NamedTuple):
    """Where a member of a structure is.

    Attributes:
        offset, size: In bytes.
        shift, bits: Of a bit field, where it is in those bytes, and how wide; 0 bits: it is all of them.
        type: The number of its type.
    """

    offset: int
    size: int
    shift: int
    bits: int
    type: int

    def place(self, start: int) -> tuple[int, int, int, int]:
        """Where it is in the bytes of a structure from ``start`` on: first byte, end, shift to the right, mask."""
        at = self.offset - start
        return at, at + self.size, self.shift, (1 << (self.bits or 8 * self.size)) - 1


def size_of_btf(header: bytes) -> int:
    """How many bytes BTF takes, by its header; 0 if that is none of a kernel's."""
    magic, head, types_at, types, strings_at, strings = HEADER.unpack_from(header)
    whole = head + max(types_at + types, strings_at + strings)
    fits = magic == MAGIC and HEADER.size <= head <= 256 and types and strings and not (types_at | types) & 3
    return whole if fits and SMALLEST <= whole <= LARGEST else 0


class Btf:
    """A kernel's types.

    Args:
        data: Its BTF, header and all.

    Raises:
        BtfError: It is none.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < HEADER.size or not 0 < size_of_btf(data) <= len(data):
            raise BtfError("the header is none of a kernel's BTF")
        _, head, types_at, types, strings_at, strings = HEADER.unpack_from(data)
        self._strings = data[head + strings_at : head + strings_at + strings]
        self._words = np.frombuffer(data, "<u4", types // 4, head + types_at)
        if self._strings[0] or self._strings[-1]:
            raise BtfError("its strings neither begin nor end as they must")
        self._starts = np.array(_starts(self._words), np.int64)
        self._names = self._words[self._starts]
        self._kinds = self._words[self._starts + 1] >> np.uint32(24) & np.uint32(31)
        self._flat: dict[int, dict[str, Field]] = {}

    def __repr__(self) -> str:
        return f"<Btf of {len(self._starts):,} types>"

    def __len__(self) -> int:
        return len(self._starts)

    # -- what it has -------------------------------------------------------------------------------------------------

    def field(self, structure: str, *paths: str) -> Field | None:
        """The first of some members that a structure has: a path of names, ``f_path.dentry``. None: it has none.

        Raises:
            BtfError: There is no such structure, or a type on the way is hostile.
        """
        types = self._named(structure, STRUCT)
        if not types:
            raise BtfError(f"no struct {structure} is in it")
        found = (self._path(one, path) for one in types for path in paths)
        return next((field for field in found if field is not None), None)

    def size(self, structure: str) -> int:
        """Bytes of a structure.

        Raises:
            BtfError: There is none.
        """
        types = self._named(structure, STRUCT)
        if not types:
            raise BtfError(f"no struct {structure} is in it")
        return self._size(types[0])

    def count(self, field: Field) -> int:
        """How many elements an array has; 1 if it is none.

        Raises:
            BtfError: Its type is hostile.
        """
        at, kind = self._resolved(field.type)
        return self._word(at + 5) if kind == ARRAY else 1

    def has(self, structure: str) -> bool:
        """Whether it has a structure of a name."""
        return bool(self._named(structure, STRUCT))

    def has_function(self, name: str) -> bool:
        """Whether the kernel has a function of a name; it may lack some that were inlined."""
        return bool(self._named(name, FUNCTION))

    @property
    def has_functions(self) -> bool:
        """Whether it says which functions there are."""
        return bool((self._kinds == FUNCTION).any())

    # -- types -------------------------------------------------------------------------------------------------------

    def _word(self, at: int) -> int:
        """A word of the types."""
        if not 0 <= at < len(self._words):
            raise BtfError(f"a type lies behind the last one, at word {at:#x}")
        return int(self._words[at])

    def _spelled(self, name: str) -> int:
        """Where a name stands among the strings, each of which is there once; 0: nowhere."""
        return self._strings.find(b"\0" + name.encode() + b"\0") + 1

    def _named(self, name: str, kind: int) -> list[int]:
        """The numbers of the types of a kind and a name."""
        if not (offset := self._spelled(name)):
            return []
        return [one + 1 for one in np.flatnonzero((self._names == offset) & (self._kinds == kind)).tolist()]

    def _resolved(self, number: int) -> tuple[int, int]:
        """Where a type begins that has contents, and its kind; names for it are followed."""
        for _ in range(_DEEPEST):
            if not 0 < number <= len(self._starts):
                raise BtfError(f"there is no type {number}")
            at, kind = int(self._starts[number - 1]), int(self._kinds[number - 1])
            if kind not in _NAMES:
                return at, kind
            number = self._word(at + 2)
        raise BtfError(f"type {number} is a name for itself")

    def _size(self, number: int) -> int:
        """Bytes of a type."""
        times = 1
        for _ in range(_DEEPEST):
            at, kind = self._resolved(number)
            if kind != ARRAY:
                own = self._word(at + 2) if kind in _SIZED else _POINTER if kind == POINTER else 0
                if times * own > _WIDEST:
                    break
                return times * own
            number, times = self._word(at + 3), times * self._word(at + 5)
        raise BtfError(f"type {number} is larger than can be")

    def _path(self, number: int, path: str) -> Field | None:
        """The member of a type that a path leads to."""
        offset = 0
        for name in path.split("."):
            found = self._members(number).get(name)
            if found is None:
                return None
            field = found._replace(offset=found.offset + offset)
            offset, number = field.offset, field.type
        return field

    def _members(self, number: int) -> dict[str, Field]:
        """The members of a type by name, those of its nameless structures and unions among them."""
        if number not in self._flat:
            found: dict[str, Field] = {}
            left = [_MOST]
            for name, field in self._flattened(number, 0, 0, left):
                found.setdefault(name, field)
            self._flat[number] = found
        return self._flat[number]

    def _flattened(self, number: int, base: int, depth: int, left: list[int]) -> Iterator[tuple[str, Field]]:
        """The members of a type that begins at a bit."""
        start, kind = self._resolved(number)
        if kind not in (STRUCT, UNION):
            return
        info = self._word(start + 1)
        for at in range(start + 3, start + 3 + 3 * (info & 0xFFFF), 3):
            left[0] -= 1
            if left[0] < 0 or depth > _DEEPEST:
                raise BtfError(f"type {number} has more members than can be")
            name, type_, place = (self._word(at + word) for word in range(3))
            width, place = (place >> 24, place & 0xFF_FFFF) if info >> 31 else (0, place)
            if name:
                yield self._string(name), self._field(type_, base + place, width)
            else:
                yield from self._flattened(type_, base + place, depth + 1, left)

    def _field(self, type_: int, place: int, width: int) -> Field:
        """A member that begins at a bit, and has so many bits if it is a bit field."""
        try:
            size = self._size(type_)
        except BtfError:
            size = 0  # of a kind that nobody asks for
        if not width:
            return Field(place // 8, size, 0, 0, type_)
        unit = max(size, 1)
        offset = place // (8 * unit) * unit
        return Field(offset, unit, place - 8 * offset, width, type_)

    def _string(self, offset: int) -> str:
        """A name."""
        end = self._strings.find(b"\0", offset)
        return self._strings[offset:end].decode("latin-1") if end >= 0 else ""


def _starts(words: npt.NDArray[np.uint32]) -> list[int]:
    """Where each type begins, in words: a pass over all of them, since each says how long it is.

    Raises:
        BtfError: A kind is not known, or the last one goes on behind the end.
    """
    fixed = [3 + _FIXED.get(kind, 0) for kind in range(32)]
    each = [_EACH.get(kind, 0) for kind in range(32)]
    view, end, at = words.data, len(words), 0
    found: list[int] = []
    add = found.append
    while at + 3 <= end:
        info = view[at + 1]
        kind = info >> 24 & 31
        if not 0 < kind < _KINDS:
            raise BtfError(f"type {len(found) + 1} is of kind {kind}, which is not known")
        add(at)
        at += fixed[kind] + each[kind] * (info & 0xFFFF)
    if at != end or not found:
        raise BtfError("its last type goes on behind the end")
    return found
