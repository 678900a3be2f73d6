"""The sizes of pages that levels have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pagewalk.formats import sizes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.formats import Level

__all__ = ["PageSize", "page_sizes"]


class PageSize(NamedTuple):
    """A size of pages: the level whose entries map one, and log2 of how many of them it spans."""

    size: int
    level: Level
    order: int


def page_sizes(levels: Sequence[Level], *, groups: bool) -> list[PageSize]:
    """The sizes of pages that some levels have, the largest first; those of groups of entries only if asked for."""
    every = [PageSize(size, level, order) for level in levels for size, order in sizes_of(level).items()]
    every = [page for page in every if groups or not page.order]
    return sorted(every, key=lambda page: -page.size)
