"""Counts by kind and page size, as text and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.formats import Kind
from pagewalk.report.layout import Cells, side_by_side
from pagewalk.report.words import read_as, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat

    Rows = npt.NDArray[np.void]

__all__ = ["count_data", "count_text"]


def count_data(rows: Rows, form: PagingFormat) -> list[dict[str, Any]]:
    """Counts as plain data.

    Args:
        rows: As ``sweep.count`` gives them.
        form: Whose entries they are.
    """
    spans = {size: level.span for level in form.hardware for size in level.page_sizes}  # one of a group is smaller
    return [
        {
            "kind": Kind(kind).label,
            "page_size": page_size,
            "entries": entries,
            "size": entries * spans.get(page_size, page_size),
        }
        for kind, page_size, entries in rows.tolist()
    ]


def count_text(rows: Rows, tables: Mapping[str, int], form: PagingFormat, *, empty: str) -> Iterator[str]:
    """Counts as lines: a table, and below it the page tables of each level.

    Args:
        rows: As ``sweep.count`` gives them.
        tables: As ``query.count_tables`` does.
        form: Whose entries they are.
        empty: What it means that there is none.
    """
    found = count_data(rows, form)
    columns = [
        Cells("KIND", [one["kind"] for one in found]),
        Cells("PAGE", [size_text(one["page_size"]).replace(" ", "")[:-2] for one in found], right=True),
        Cells("ENTRIES", [f"{one['entries']:,}" for one in found], right=True),
        Cells("SIZE", [size_text(one["size"]) for one in found], right=True),
    ]
    lines, _ = side_by_side(columns, None)
    yield "".join(f"{line}\n" for line in lines)
    many = sum(one["entries"] for one in found)
    total = f"{many:,} {'entry' if many == 1 else 'entries'}" if found else empty
    sizes = {level.name: level.table_bytes for level in form.levels}
    cost = size_text(sum(sizes[name] * count for name, count in tables.items()))
    levels = ", ".join(f"{count:,} {name}" for name, count in tables.items())
    yield f"\n{total}{read_as(form.system, '; ')}\npage tables: {cost}: {levels}\n"
