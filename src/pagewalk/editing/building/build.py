"""Page tables from a layout.

How it works. The layout's regions become runs of pages, the runs say which tables are needed (``sweep.build``), each
table gets its place (``places``), and then entries are written, a level at a time. A format in which one top table
translates all windows has one *grove* of tables; where each window has a root of its own, each has its grove.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pagewalk.doors import shown
from pagewalk.editing.building.layout import Layout
from pagewalk.editing.building.pages import leaves_of
from pagewalk.editing.building.places import place
from pagewalk.editing.building.plots import plots_of
from pagewalk.errors import LayoutError, UnsupportedError
from pagewalk.formats import from_registers, to_registers
from pagewalk.memory import FlatMemory
from pagewalk.memory.protocol import Segment
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    import numpy.typing as npt

    from pagewalk.editing.building.plots import Plot
    from pagewalk.formats import Level, Window

    Words = npt.NDArray[np.uint64]

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
    plots = plots_of(layout)
    size = place(layout, [plot.grove for plot in plots])
    data = bytearray(size)
    slots = np.frombuffer(data, layout.format.word.dtype)
    for plot in plots:
        _write(layout, plot, slots)
    roots = {
        name: tuple(window for plot in plots for window in plot.rooted(number))
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


def _write(layout: Layout, plot: Plot, slots: npt.NDArray[np.unsignedinteger[Any]]) -> None:
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
