"""Structures of a kernel, read by the offsets that its BTF says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.sources.linux.btf import BtfError, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["Layout", "offset_of"]

_WIDEST: Final = 64
"""Bytes of a member at most."""
_LARGEST: Final = 1 << 16
"""Bytes of a structure at most."""
_ABSENT: Final = Field(0, 0, 0, 0, 0)


class Layout:
    """Some members of a structure.

    Args:
        btf: The kernel's types.
        structure: Its name.
        members: Paths of members, in the order in which they are wanted. ``a|b`` is whichever there is; ``a|``: it may
            not be there, and is 0 then.

    Raises:
        BtfError: A member is not there, or is larger than can be.
    """

    def __init__(self, btf: Btf, structure: str, members: Iterable[str]) -> None:
        fields = [_field(btf, structure, member) for member in members]
        there = [field for field in fields if field.size]
        if not there:
            raise BtfError(f"struct {structure} has nothing of what is wanted")
        self._start = min(field.offset for field in there)
        self._size = max(field.offset + field.size for field in there) - self._start
        self._places = [field.place(self._start if field.size else 0) for field in fields]
        if self._size > _LARGEST:
            raise BtfError(f"struct {structure} of {self._size:#x} bytes is larger than can be")

    def read(self, memory: Virtual, vaddr: int) -> list[int]:
        """The members of the structure at an address.

        Raises:
            Unreadable: Not all of it is there.
        """
        return self.of(memory.read(vaddr + self._start, self._size))

    def of(self, data: bytes) -> list[int]:
        """The members in the bytes from the first of them on."""
        return [int.from_bytes(data[at:end], "little") >> shift & mask for at, end, shift, mask in self._places]

    @property
    def extent(self) -> tuple[int, int]:
        """Where the first of them begins, and how many bytes they take, all together."""
        return self._start, self._size


def offset_of(btf: Btf, structure: str, member: str) -> int:
    """Where a member begins, in bytes; spelled as for ``Layout``.

    Raises:
        BtfError: It is not there.
    """
    return _found(btf, structure, member).offset


def _field(btf: Btf, structure: str, member: str) -> Field:
    """Where a member is, and how large; one that may be missing has no size.

    Raises:
        BtfError: It is not there, or of a size that it cannot have.
    """
    found = _found(btf, structure, member)
    if found.size > _WIDEST or (not found.size and found is not _ABSENT):
        raise BtfError(f"{structure}.{member} of {found.size:#x} bytes is not what it should be")
    return found


def _found(btf: Btf, structure: str, member: str) -> Field:
    """Where a member is."""
    paths = [path for path in member.split("|") if path]
    found = btf.field(structure, *paths)
    if found is None and member.endswith("|"):
        return _ABSENT
    if found is None:
        raise BtfError(f"struct {structure} has no {' or '.join(paths)}")
    return found
