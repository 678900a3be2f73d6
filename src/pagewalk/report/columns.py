"""The columns of ``pagewalk live`` and ``vmas``: names and meanings; which VMAs are shown in which order."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.report.words import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from pagewalk.space import AddressSpace

    Rows = npt.NDArray[np.void]

__all__ = ["COLOURS", "COLUMNS", "Choice", "choose", "column_of", "explain", "headed", "near", "sort_key"]


class Column(NamedTuple):
    """A column of numbers.

    Attributes:
        name: The field of ``TOTALS``, and the key in JSON.
        heading: As the table shows it.
        meaning: In a few words.
    """

    name: str
    heading: str
    meaning: str


COLUMNS: Final = (
    Column("small", "4K", "in the smallest pages: where those are larger, it is called by their size"),
    Column("thp", "THP", "in transparent huge pages, each mapped by one entry"),
    Column("hugetlb", "HUGETLB", "in hugetlb pages"),
    Column("prot_none", "NO RIGHTS", "pages that are there, which nobody may touch (PROT_NONE)"),
    Column("zero", "ZERO", "the shared zero page: read, never written"),
    Column("guard", "GUARD", "guard regions (MADV_GUARD_INSTALL)"),
    Column("swap", "SWAP", "swapped out (without root: markers and poison too)"),
    Column("write_protected", "UFFD-WP", "write-protected by userfaultfd, whether a page is there or not"),
    Column("poison", "POISON", "poisoned, by a memory error or UFFDIO_POISON"),
    Column("other", "OTHER", "migrating, or device memory"),
    Column("untouched", "UNTOUCHED", "nothing: never touched, or given back"),
    Column("hidden", "UNKNOWN", "VM_PFNMAP, such as [vvar], of a live process: the kernel does not say"),
    Column("shared", "SHARED", "of the pages that are there, of a live process: mapped by other processes too"),
)
COLOURS: Final = (("guard", "red"), ("swap", "yellow"), ("thp", "green"))
"""The colour of a VMA's line is that of the first of these that it has."""

_ALIASES: Final = {"uffd": "write_protected", "uffd_wp": "write_protected", "hwpoison": "poison"}
"""Other names that people, and ``Kind``, have for them."""

_MORE: Final = ("file", "anonymous", "exclusive")
_PLAIN: Final = ("address", "size", "name")
"""What can be sorted by, besides the numbers."""


def column_of(text: str) -> str | None:
    """The name of the column that is called so: its key or its heading, in any case; None if there is none."""
    wanted = text.casefold().replace("-", "_").replace(" ", "_")
    names = {column.heading.casefold().replace("-", "_").replace(" ", "_"): column.name for column in COLUMNS}
    names |= {column.name: column.name for column in COLUMNS} | {name: name for name in _MORE}
    return (names | _ALIASES).get(wanted)


def headed(column: Column, page_size: int) -> str:
    """The heading of a column, where the smallest pages are of so many bytes."""
    return size_text(page_size).replace(" ", "")[:-2] if column.name == "small" else column.heading


def sort_key(text: str) -> str | None:
    """The name of what is called so and can be sorted by; None if there is none."""
    return text.casefold() if text.casefold() in _PLAIN else column_of(text)


def near(text: str, *, sorting: bool) -> str:
    """The names that look like a wrong one, for messages; all of them if none does."""
    known = [*(_PLAIN if sorting else ()), *(column.name for column in COLUMNS), *_MORE]
    known += [column.heading for column in COLUMNS if column_of(column.heading) != column.heading.casefold()]
    close = difflib.get_close_matches(text.casefold(), [name.casefold() for name in known], 2, 0.6)
    return " or ".join(close)


def explain() -> list[tuple[str, str]]:
    """Every heading with its meaning."""
    return [(column.heading, column.meaning) for column in COLUMNS]


class Choice(NamedTuple):
    """Which VMAs, in which order.

    Attributes:
        filters: Kinds (``guard``) and names (a part, or a pattern with ``*``, ``?``); a VMA that is one of them is
            shown. None: all are.
        sort: A column, or ``address``, ``size``, ``name``. Numbers descend.
        top: So many at most.
    """

    filters: tuple[str, ...] = ()
    sort: str = "address"
    top: int | None = None


def choose(space: AddressSpace, totals: Rows, choice: Choice) -> tuple[list[int], list[int]]:
    """The VMAs that pass, and the first of them in the order that was asked for, as places."""
    vmas = list(space.vmas)
    kept = [at for at, vma in enumerate(vmas) if _passes(vma.name, totals[at], choice.filters)]
    order = sorted(kept, key=lambda at: _rank(vmas[at], totals[at], choice.sort))
    return kept, order[: choice.top]


def _passes(name: str, total: Any, filters: Iterable[str]) -> bool:
    """Whether a VMA is one of those that are asked for."""
    filters = tuple(filters)
    return not filters or any(_is_one(name, total, each) for each in filters)


def _is_one(name: str, total: Any, wanted: str) -> bool:
    """Whether a VMA has something of a kind, or is called so."""
    if kind := column_of(wanted):
        return bool(total[kind])
    return fnmatchcase(name, wanted) if set("*?[") & set(wanted) else wanted in name


def _rank(vma: Any, total: Any, by: str) -> Any:
    """What a VMA is sorted by; addresses decide between equals."""
    if by == "address":
        return vma.start
    if by == "name":
        return vma.name, vma.start
    return -(vma.size if by == "size" else int(total[by])), vma.start
