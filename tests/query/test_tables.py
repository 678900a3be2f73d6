"""How many tables there are, in any format."""

from __future__ import annotations

import pytest

from pagewalk.formats import FORMATS
from pagewalk.query.tables import count_tables, linked_tables
from tests.editing.bench import Workbench


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_counts_its_tables(name: str) -> None:
    """Entries of four bytes too."""
    bench = Workbench(name)
    with bench.change() as change:
        change.install(bench.base, bench.first_frame, 2 * bench.size, "rwxu")
        added = len(change.plan().added)
        change.commit()
    assert added
    assert sum(count_tables(bench.tables).values()) == 1 + added
    assert sum(len(paddrs) for _, paddrs in linked_tables(bench.tables, bench.tables.windows[0])) == 1 + added
