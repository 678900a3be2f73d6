"""Page tables from a layout.

How it works. The layout's regions become runs of pages, the runs say which tables are needed (``sweep.build``), each
table gets its place (``places``), and then entries are written, a level at a time. A format in which one top table
translates all windows has one *grove* of tables; where each window has a root of its own, each has its grove.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pagewalk.doors import shown
from pagewalk.editing.building.layout import Layout
from pagewalk.editing.building.pages import leaves_of, runs_of
from pagewalk.editing.building.places import check_count, place
from pagewalk.editing.building.sizes import page_sizes
from pagewalk.errors import LayoutError, UnsupportedError
from pagewalk.formats import from_registers, to_registers
from pagewalk.memory import FlatMemory
from pagewalk.memory.protocol import Segment
from pagewalk.sweep.build import Grove, Keys, Shape, expanded
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import numpy.typing as npt

    from pagewalk.editing.building.areas import Areas
    from pagewalk.editing.building.pages import Runs
    from pagewalk.editing.building.sizes import PageSize
    from pagewalk.formats import Level, Window

    Words = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.intp]

__all__ = ["Built", "build"]


class Built:
    """Page tables that were built.

    Args:
        layout: What they were built from.
        data: Their bytes.
        roots: By a root's name: its windows.
        counts: How many tables there are, by the name of their level.

    Attributes:
        base, size: Where they lie, in bytes.
    """

    def __init__(
        self, layout: Layout, data: bytes, roots: Mapping[str, tuple[Window, ...]], counts: Mapping[str, int]
    ) -> None:
        self.layout = layout
        self.data = data
        self.roots = dict(roots)
        self.counts = dict(counts)
        self.base = layout.base
        self.size = len(data)

    def __repr__(self) -> str:
        return f"<Built {self.layout.format.name}: {self.size:#x} bytes at {self.base:#x}, {len(self.roots)} roots>"

    def tables(self, root: str | None = None) -> PageTables:
        """The page tables, in a memory that has their bytes alone.

        Args:
            root: Which root's, by its name; None: the first one's.

        Raises:
            ValueError: No root has that name.
        """
        memory = FlatMemory([Segment(self.base, memoryview(self.data))])
        return PageTables(memory, format=self.layout.format, windows=self._windows(root))

    def registers(self, root: str | None = None) -> dict[str, int]:
        """What to load, by the registers' names, for the CPU to use a root.

        Raises:
            ValueError: As ``tables``.
        """
        return to_registers(self.layout.format, self._windows(root)) | dict(self.layout.registers)

    def _windows(self, root: str | None) -> tuple[Window, ...]:
        if root is None:
            root = next(iter(self.roots))
        if root not in self.roots:
            raise ValueError(f"there is no root {shown(root)}: there are {', '.join(map(repr, self.roots))}")
        return self.roots[root]


def build(layout: Layout | Mapping[str, Any] | str | Path) -> Built:
    """Build page tables.

    Args:
        layout: The layout, or a mapping as a file has it, or the path of a TOML file.

    Returns:
        The tables: the same bytes for the same layout, whenever and wherever.

    Raises:
        LayoutError: The layout contradicts itself.
        UnsupportedError: The format cannot say what a region is to be, or has no such page size.
        OutOfFrames: The tables do not fit the range that they are given.
        OSError: The file cannot be read.
    """
    layout = Layout.of(layout)
    plots = _plots(layout)
    size = place(layout, [plot.grove for plot in plots])
    data = bytearray(size)
    slots = np.frombuffer(data, layout.format.word.dtype)
    for plot in plots:
        _write(layout, plot, slots)
    roots = {
        name: tuple(window for plot in plots for window in plot.rooted(layout, number))
        for number, name in enumerate(layout.roots)
    }
    counts: dict[str, int] = {}
    for plot in plots:
        for level in plot.grove.shape.levels:
            counts[level.name] = counts.get(level.name, 0) + len(plot.grove.tables[level.depth])
    built = Built(layout, bytes(data), roots, counts)
    _check_roots(built)
    return built


def _check_roots(built: Built) -> None:
    """Refuse roots that no register can hold.

    Raises:
        LayoutError: One is.
    """
    form = built.layout.format
    for name, windows in built.roots.items():
        try:
            said = from_registers(built.registers(name), "none").windows
        except UnsupportedError as error:
            raise LayoutError(f"{built.layout.title}: the root cannot be loaded: {error}") from None
        if [window[:3] for window in said] != [window[:3] for window in windows]:
            root = windows[0].root
            raise LayoutError(f"{built.layout.title}: no register of {form.name} holds the root {root:#x}")


class _Plot(NamedTuple):
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

    def rooted(self, layout: Layout, number: int) -> list[Window]:
        """Its windows with a root."""
        top = self.grove.shape.levels[0]
        root = int(self.grove.paddrs[top.depth][self.owners[number]])
        return [window._replace(root=root) for window in self.windows]


def _plots(layout: Layout) -> list[_Plot]:
    """What there is to be built, for each top table that translates something; for one at least."""
    areas, form = layout.areas, layout.format
    parts = [layout.windows] if form.has_one_root else [(window,) for window in layout.windows]
    numbers, first = [], 0
    for part in parts:
        numbers.append(np.flatnonzero(np.isin(areas.windows, range(first, first + len(part)))))
        first += len(part)
    some = [at for at, chosen in enumerate(numbers) if len(chosen)] or [0]
    return [_plot(layout, parts[at], areas, numbers[at]) for at in some]


def _plot(layout: Layout, windows: tuple[Window, ...], areas: Areas, chosen: Numbers) -> _Plot:
    """What is to be built in some windows, of the areas with some numbers."""
    levels = tuple(level for level in layout.format.levels_of(windows[0]) if not level.folded)
    owners, roots = _owners(layout, areas.roots[chosen])
    shape, sizes = Shape(levels, roots), page_sizes(levels, groups=layout.groups)
    mapped = chosen[areas.sayings[chosen] >= 0]
    runs = runs_of(areas.some(mapped), sizes)
    runs = runs._replace(areas=mapped[runs.areas])
    needed = _needed(layout, shape, owners, areas, chosen, runs, sizes)
    return _Plot(Grove(shape, needed), windows, owners, areas, runs, sizes)


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


def _write(layout: Layout, plot: _Plot, slots: npt.NDArray[np.unsignedinteger[Any]]) -> None:
    """Write the entries of a grove."""
    grove, shape, base = plot.grove, plot.grove.shape, layout.base
    for above, level in pairwise(shape.levels):
        entries = above.table(grove.paddrs[level.depth])
        if len(entries) and (layout.set or layout.clear):
            entries = _with_bits(layout, above, entries)
        grove.link(slots, base, above, entries, of=level)
    order = np.argsort(plot.runs.vaddrs, kind="stable")
    runs = plot.runs.some(order)
    owner, saying = plot.owners[plot.areas.roots[runs.areas]], plot.areas.sayings[runs.areas]
    for key in np.unique(np.stack([runs.pages, owner, saying], 1), axis=0).tolist():
        page, whose, what = plot.sizes[key[0]], key[1], plot.areas.said[key[2]]
        some = runs.some((runs.pages == key[0]) & (owner == whose) & (saying == key[2]))
        for leaves in leaves_of(layout, plot.areas, some, page, what):
            grove.put(slots, base, shape.part(page.level, leaves, whose))


def _with_bits(layout: Layout, level: Level, entries: Words) -> Words:
    """Entries of tables with the layout's bits set and cleared, if they still point to the same tables.

    Raises:
        LayoutError: They do not.
    """
    changed: Words = entries & ~np.uint64(layout.clear) | np.uint64(layout.set)
    same = level.is_table(changed).all() and (level.frame(changed) == level.frame(entries)).all()
    one, other = level.decode(int(entries[0])), level.decode(int(changed[0]))
    if not same or one.rights != other.rights or level.wrong(int(changed[0])) or layout.set >> 8 * level.word.size:
        raise LayoutError(
            f"{layout.title}: set {layout.set:#x} and clear {layout.clear:#x} of [tables] change what "
            "the entries of tables say"
        )
    return changed
