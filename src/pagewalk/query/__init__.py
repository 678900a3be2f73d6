"""Questions about page tables, answered for whole arrays at once, by the sweep."""

from __future__ import annotations

from pagewalk.query.areas import TOTALS, guard_ranges, summarize
from pagewalk.query.listing import HOLE, MAPPING, PAGE, holes, mappings
from pagewalk.query.read import read
from pagewalk.query.tables import count_tables
from pagewalk.sweep.translation import translate

__all__ = [
    "HOLE",
    "MAPPING",
    "PAGE",
    "TOTALS",
    "count_tables",
    "guard_ranges",
    "holes",
    "mappings",
    "read",
    "summarize",
    "translate",
]
