"""What is to be built: for each top table that translates something, which tables it takes, and what lies in them.

A *plot* is a grove of tables, the windows that it translates, and the runs of pages that grow in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.editing.building.pages import runs_of
from pagewalk.editing.building.places import check_count
from pagewalk.editing.building.sizes import page_sizes
from pagewalk.sweep.build import Grove, Keys, Shape, expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pagewalk.editing.building.areas import Areas
    from pagewalk.editing.building.layout import Layout
    from pagewalk.editing.building.pages import Runs
    from pagewalk.editing.building.sizes import PageSize
    from pagewalk.formats import Level, Window

    Words = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.intp]

__all__ = ["Plot", "plots_of"]


class Plot(NamedTuple):
    """A grove, the windows that it translates, and what grows in it.

    Attributes:
        grove: Its tables.
        windows: The windows.
        owners: By the number of a root, that of its root in the grove.
        areas: All areas of the layout.
        runs: The runs of pages in it.
        sizes: The sizes that they have.
    """

    grove: Grove
    windows: tuple[Window, ...]
    owners: Numbers
    areas: Areas
    runs: Runs
    sizes: list[PageSize]

    def rooted(self, number: int) -> list[Window]:
        """Its windows with a root."""
        top = self.grove.shape.levels[0]
        root = int(self.grove.paddrs[top.depth][self.owners[number]])
        return [window._replace(root=root) for window in self.windows]


def plots_of(layout: Layout) -> list[Plot]:
    """What there is to be built, for each top table that translates something; for one at least."""
    areas, form = layout.areas, layout.format
    parts = [layout.windows] if form.has_one_root else [(window,) for window in layout.windows]
    numbers, first = [], 0
    for part in parts:
        numbers.append(np.flatnonzero(np.isin(areas.windows, range(first, first + len(part)))))
        first += len(part)
    some = [at for at, chosen in enumerate(numbers) if len(chosen)] or [0]
    return [_plot(layout, parts[at], areas, numbers[at]) for at in some]


def _plot(layout: Layout, windows: tuple[Window, ...], areas: Areas, chosen: Numbers) -> Plot:
    """What is to be built in some windows, of the areas with some numbers."""
    levels = tuple(level for level in layout.format.levels_of(windows[0]) if not level.folded)
    owners, roots = _owners(layout, areas.roots[chosen])
    shape, sizes = Shape(levels, roots), page_sizes(levels, groups=layout.groups)
    mapped = chosen[areas.sayings[chosen] >= 0]
    runs = runs_of(areas.some(mapped), sizes)
    runs = runs._replace(areas=mapped[runs.areas])
    needed = _needed(layout, shape, owners, areas, chosen, runs, sizes)
    return Plot(Grove(shape, needed), windows, owners, areas, runs, sizes)


def _owners(layout: Layout, roots: Numbers) -> tuple[Numbers, int]:
    """By the number of a root, -1 last: the number of its top table; and how many of these there are.

    Where a window has a register of its own, roots that have nothing of their own in it have one top table.
    """
    count = len(layout.roots)
    has = np.isin(np.arange(count), roots) | layout.format.has_one_root
    owners = np.cumsum(has) - 1
    owners[~has] = has.sum()
    tops = int(has.sum() + (not has.all()))
    return np.append(owners, 0 if tops == 1 else tops), tops


def _needed(
    layout: Layout,
    shape: Shape,
    owners: Numbers,
    areas: Areas,
    chosen: Numbers,
    runs: Runs,
    sizes: Sequence[PageSize],
) -> dict[int, list[Keys]]:
    """The keys of the tables that runs need, and reservations, with their ranks if these matter."""
    needed: dict[int, list[Keys]] = {level.depth: [] for level in shape.levels}
    for level, vaddrs, lengths, numbers in _spans(layout, areas, chosen, runs, sizes):
        whose = owners[areas.roots[numbers]]
        for owner in np.unique(whose).tolist():
            mine = whose == owner
            first = shape.keys(level, vaddrs[mine], owner)
            last = shape.keys(level, vaddrs[mine] + (lengths[mine] - np.uint64(1)), owner)
            counts = (last - first).astype(np.intp) + 1
            check_count(layout, int(counts.sum()) - len(counts), level)
            which, nth = expanded(np.zeros(len(first), np.intp), counts)
            ranks = None
            if layout.order == "regions":
                ranks = _ranks(layout, level, areas, numbers[mine], vaddrs[mine], which, nth)
            needed[level.depth].append(Keys(first[which] + nth.astype(np.uint64), ranks))
    return needed


def _spans(
    layout: Layout, areas: Areas, chosen: Numbers, runs: Runs, sizes: Sequence[PageSize]
) -> Iterator[tuple[Level, Words, Words, Numbers]]:
    """What needs tables: a level, and addresses, sizes and areas."""
    reserved = chosen[(areas.sayings[chosen] < 0) & (chosen >= len(layout.regions))]
    wanted = np.where(areas.largest[reserved] == 0, np.uint64(sizes[-1].size), areas.largest[reserved])
    for number, page in enumerate(sizes):
        some = runs.some(runs.pages == number)
        yield page.level, some.vaddrs, some.sizes, some.areas
        empty = reserved[wanted == page.size]
        yield page.level, areas.vaddrs[empty], areas.sizes[empty], empty


def _ranks(
    layout: Layout, level: Level, areas: Areas, numbers: Numbers, vaddrs: Words, which: Numbers, nth: Numbers
) -> Words:
    """When tables are needed: by the file's order of the regions, and by address in each.

    Args:
        layout, level, areas: Whose they are.
        numbers, vaddrs: Of each run: its region, and where it begins.
        which, nth: Of each table: the run, and how many of the run's tables lie before it.
    """
    pages = areas.sizes // np.uint64(layout.format.page_size)
    order = np.argsort(areas.ranks)
    before = np.empty_like(pages)
    before[order] = np.cumsum(pages[order]) - pages[order]
    table = np.uint64(level.shift + level.index_bits)
    inside = vaddrs[which] & (np.uint64(1) << table) - np.uint64(1)
    offsets = (vaddrs - areas.vaddrs[numbers])[which]
    offsets += np.where(nth > 0, (nth.astype(np.uint64) << table) - inside, np.uint64(0))
    return before[numbers][which] + offsets // np.uint64(layout.format.page_size)
