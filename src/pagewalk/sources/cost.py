"""What the page tables of a process cost, and how much of it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pagewalk.formats import Kind
from pagewalk.query import count_tables
from pagewalk.sweep import Filter, count

if TYPE_CHECKING:
    from pagewalk.errors import TranslationError
    from pagewalk.formats import Window
    from pagewalk.tables import PageTables

__all__ = ["Cost", "cost_of"]


class Cost(NamedTuple):
    """Bytes.

    Attributes:
        resident: In pages that are there.
        tables: In page tables, the top one among them.
    """

    resident: int
    tables: int


def cost_of(tables: PageTables, window: Window) -> Cost:
    """What a window of page tables costs, and maps; what is malformed is passed over.

    Raises:
        MemoryReadError: The memory cannot be read any more.
    """
    form = tables.format
    passed: list[TranslationError] = []
    wanted = Filter(kinds=(Kind.PRESENT, Kind.PROT_NONE))
    rows = count(tables, window.start, window.end, where=wanted, findings=passed)
    spans = {size: level.span for level in form.hardware for size in level.page_sizes}
    resident = sum(entries * spans[size] for _, size, entries in rows.tolist())
    return Cost(resident, _bytes_in_tables(tables, window))


def _bytes_in_tables(tables: PageTables, window: Window) -> int:
    """Bytes in the tables that translate a window."""
    sizes = {level.name: level.table_bytes for level in tables.format.levels_of(window)}
    return sum(sizes[name] * count for name, count in count_tables(tables, windows=[window]).items())
