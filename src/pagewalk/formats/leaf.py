"""What a page shall be, said once for all formats: rights as a listing prints them, state, memory type, key.

``made`` makes entries of it, one or an array of them, and refuses what the format cannot say: nothing is granted that
was not asked for, and nothing asked for is left out. Of several encodings that say the same the one is taken that
grants least: a page that arm64's user executes is none that its kernel does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import integer, shown
from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import NO_PADDR, joined
from pagewalk.formats.fields import KEY, MEMORY, RIGHTS
from pagewalk.formats.flags import GRANTED, Flag, Kind, Rights, flags_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats.fields import Field
    from pagewalk.formats.level import Level
    from pagewalk.formats.rows import Row

__all__ = [
    "KERNEL",
    "Leaf",
    "by_meaning",
    "kernel_of",
    "kernel_text",
    "made",
    "present_again",
    "regranted",
    "renumbered",
    "rights_bits",
    "rights_of",
    "rights_text",
    "sizes_of",
    "software_bits",
    "unseen_bits",
]

_TEXT: Final = re.compile(r"[r-][w-][xX-][u-]", re.ASCII)
_KERNEL_TEXT: Final = re.compile(r"[r-][w-][x-]", re.ASCII)
_PLACES: Final = (("r", Flag.READ), ("w", Flag.WRITE), ("x", Flag.EXEC), ("u", Flag.USER))
_LETTERS: Final = {**dict(_PLACES), "X": Flag.KERNEL_EXEC}
_NOTHING: Final = Flag(0)
KERNEL: Final = Rights.KERNEL_READ | Rights.KERNEL_WRITE | Rights.KERNEL_EXEC


def rights_of(text: str) -> Flag:
    """Rights out of four places, as a listing prints them: ``rw-u``, ``r-x-``, ``r-Xu``.

    ``x``: whoever may access the page may execute it. ``X``: the kernel alone. ``----``: nobody may do anything.

    Raises:
        ValueError: It is not that.
    """
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise ValueError(f"{shown(text)} are no rights: write four places, as in rw-u or r-x- (X: the kernel executes)")
    rights = _NOTHING
    for letter in text.replace("-", ""):
        rights |= _LETTERS[letter]
    if "X" in text and "u" not in text:
        raise ValueError(f"{text} says X, the kernel alone executes, of a page that is no user's: write x")
    if text.endswith("u") and text[:3] == "---":
        raise ValueError(f"{text} is a user's page that nobody may use: write ----")
    return rights


@lru_cache(maxsize=1024)
def rights_text(flags: int) -> str:
    """Rights in four places: ``rw-u`` (read, write, execute, user); other flags are of no account.

    They are the user's where it has any: then ``X`` says that the kernel alone may execute.
    """
    r, w, x, u = (letter if flags & flag else "-" for letter, flag in _PLACES)
    return f"{r}{w}{'X' if flags & Flag.KERNEL_EXEC else x}{u}"


def kernel_of(text: str) -> Rights:
    """The kernel's rights out of three places: ``rw-``.

    Raises:
        ValueError: It is not that.
    """
    if not isinstance(text, str) or not _KERNEL_TEXT.fullmatch(text):
        raise ValueError(f"{shown(text)} are no rights of the kernel: write three places, as in rw- or r-x")
    return Rights(sum(1 << at for at, letter in enumerate(text) if letter != "-"))


def kernel_text(rights: int) -> str:
    """The kernel's rights in three places."""
    return "".join(letter if rights >> at & 1 else "-" for at, letter in enumerate("rwx"))


class Leaf(NamedTuple):
    """What a page shall be.

    Attributes:
        rights: ``Flag`` bits, as ``rights_of`` gives them.
        memory, key: The numbers of its memory type and its protection key.
        state: ``ACCESSED``, ``DIRTY``, ``GLOBAL`` and others; one without a bit in the format is left out. None:
            accessed, and dirty where it may be written, so that no CPU has to write the entry, or faults over it.
        kernel: What the kernel may do with a user's page, as ``Rights``; None: as little as goes with the user's.
    """

    rights: Flag
    memory: int = 0
    key: int = 0
    state: Flag | None = None
    kernel: Rights | None = None

    @property
    def flags(self) -> Flag:
        """Its state, said or not."""
        used = Flag.ACCESSED | (Flag.DIRTY if self.rights & Flag.WRITE else _NOTHING)
        return used if self.state is None else self.state & ~GRANTED


def sizes_of(level: Level) -> dict[int, int]:
    """The sizes of the pages that entries of a level map, ascending, each with log2 of the entries that one spans."""
    return {size: (size >> level.shift).bit_length() - 1 for size in level.page_sizes}


def made(level: Level, paddrs: Any, leaf: Leaf, *, order: int = 0) -> Any:
    """Entries that map pages.

    Args:
        level: The level.
        paddrs: What each entry's part of memory is: an int, or shape (n,), uint64. Of a group, each entry's own.
        leaf: What the pages shall be.
        order: log2 of the entries that one page spans (contiguous groups, NAPOT); whole groups are the caller's to
            give.

    Raises:
        UnsupportedError: The format cannot say it; the message says what.
        ValueError: An address is misaligned or too wide.
    """
    row = _row(level, order)
    _check(level, row, paddrs)
    said = rights_bits(level, row, leaf.rights, leaf.kernel) | _numbers(level, row, leaf)
    for field in row.fields:
        if not field.derived and field.name not in (RIGHTS, MEMORY, KEY):
            said |= field.said(int(leaf.flags))
    return level.codec.make(row, paddrs if hasattr(paddrs, "ndim") else integer(paddrs, "paddr"), said)


def _row(level: Level, order: int) -> Row:
    """The row of pages of a size."""
    rows = (row for row in level.codec.rows if row.kind is Kind.PRESENT and row.order == order)
    row = next(rows, None)
    if row is None:
        sizes = ", ".join(f"{size:#x}" for size in level.page_sizes) or "none"
        raise UnsupportedError(f"{level.real_name} entries map no pages of {level.span << order:#x} bytes, but {sizes}")
    return row


def _check(level: Level, row: Row, paddrs: Any) -> None:
    """Refuse addresses that entries of a row cannot name; what a group's leaves open is a page's own place in it."""
    reach = row.reach | level.codec.left_open(level.codec.shape_of(row))
    wrong = paddrs & (NO_PADDR ^ reach)
    if wrong.any() if hasattr(wrong, "any") else wrong:
        one = int(paddrs[wrong != 0][0]) if hasattr(wrong, "any") else paddrs
        size = level.span << row.order
        raise ValueError(f"{one:#x} is not the address of a part of a page of {size:#x} bytes in this format")


def rights_bits(level: Level, row: Row, rights: Flag, kernel: Rights | None = None) -> int:
    """The bits that grant these rights and no others, in the entry of a page or a table of its own.

    Args:
        level, row: Whose entry it is.
        rights: The rights, as ``Flag``.
        kernel: The kernel's, where they are said apart.

    Raises:
        UnsupportedError: None do.
    """
    field = row.field(RIGHTS)
    meanings = ((0, Rights.all()),) if field is None else field.meanings
    fits = [
        (int(granted).bit_count(), bits)
        for bits, meaning in meanings
        if flags_of(granted := level.access.allowed(int(meaning))) & GRANTED == rights & GRANTED
        and kernel in (None, granted & KERNEL)
    ]
    if not fits:
        alone = "alone" if kernel is None else f"with {kernel_text(kernel)} for the kernel"
        raise UnsupportedError(f"no {level.real_name} entry grants {rights_text(rights)} {alone} in this format")
    return min(fits, key=lambda fit: fit[0])[1]


def _numbers(level: Level, row: Row, leaf: Leaf) -> int:
    """The bits of the memory type and the key."""
    said = 0
    for name, number in ((MEMORY, leaf.memory), (KEY, leaf.key)):
        field = row.field(name)
        if field is None:
            if number:
                raise UnsupportedError(f"{level.real_name} entries have no {_WORDS[name]} in this format: leave it out")
            continue
        if not _can_say(field, number):
            raise UnsupportedError(f"{level.real_name} entries have no {_WORDS[name]} {number} in this format")
        said |= field.put(number)
    return said


_WORDS: Final = {MEMORY: "memory type", KEY: "protection key"}


def _can_say(field: Field, number: int) -> bool:
    """Whether a field has room for a number."""
    return number in field.written if field.meanings else 0 <= number <= field.mask >> field.lowest


# -- changing what a page is -------------------------------------------------------------------------------------------


def regranted(level: Level, entry: int, rights: Flag) -> tuple[int, int]:
    """The bits of a page's entry to clear, and those to set, for it to grant these rights and no others.

    Where the format keeps a page's dirty state aside while it may not be written, it goes there, or comes back.

    Raises:
        UnsupportedError: The format cannot say it.
    """
    found = level.decode(entry)
    field = found.row.field(RIGHTS)
    clear, put = 0 if field is None else field.mask, rights_bits(level, found.row, rights)
    aside = any(Flag.SAVED_DIRTY in field.flags for field in found.row.fields)
    less, more = (Flag.SAVED_DIRTY, Flag.DIRTY) if rights & Flag.WRITE else (Flag.DIRTY, Flag.SAVED_DIRTY)
    if not aside or not found.flags & less:
        return clear, put
    for field in found.row.fields:
        if not field.derived and field.name != RIGHTS and field.flags & (less | more):
            clear, put = clear | field.mask, put | field.said(int(found.flags & ~less | more))
    return clear, put


def renumbered(level: Level, entry: int, name: str, number: int) -> tuple[int, int]:
    """The same for its memory type or its protection key.

    Args:
        level: The entry's level.
        entry: The entry.
        name: ``MEMORY`` or ``KEY``.
        number: Its new number.

    Raises:
        UnsupportedError: The format has no such number, or no such field.
    """
    row = level.decode(entry).row
    field = row.field(name)
    if field is None or not _can_say(field, number):
        raise UnsupportedError(f"{level.real_name} entries have no {_WORDS[name]} {number} in this format")
    return field.mask, field.put(number)


def software_bits(level: Level, entry: int) -> int:
    """The bits of a page's entry that hardware and operating system leave to anybody."""
    row = level.decode(entry).row
    ignored = level.word.mask if row.ignored is None else row.ignored
    return ignored & ~row.claimed


def by_meaning(level: Level, entries: Any) -> Iterator[tuple[int, Any]]:
    """Entries, those together that say the same but for their frames: the first of them, and which they are."""
    import numpy as np  # what makes one entry needs none

    keys, which = np.unique(entries & np.uint64(level.codec.significant), return_inverse=True)
    for at in range(len(keys)):
        mask = which == at
        yield int(entries[mask.argmax()]), mask


def present_again(level: Level, entries: Any) -> Any:
    """Entries of pages without rights (PROT_NONE) as entries of pages that have some. Shape (n,), uint64."""
    to = next(row for row in level.codec.rows if row.kind is Kind.PRESENT and not row.order)
    done = entries.copy()
    for entry, mask in by_meaning(level, entries):
        row, some = level.decode(entry).row, entries[mask]
        done[mask] = level.codec.converted(some, row, to, joined(row.address, some))
    return done


def unseen_bits(level: Level, entry: int) -> int:
    """The bits of an entry that the hardware does not look at: those left to software, used or not."""
    row = level.decode(entry).row
    system = sum(field.mask for field in row.fields if field.system)
    ignored = level.word.mask & ~row.claimed if row.ignored is None else row.ignored
    return ignored & ~row.tested | system
