"""Page tables: tables and their entries, the way from a root to an address, and what an access there comes to.

In order: ``table``, ``tables``, ``verdict``.
"""

from __future__ import annotations

from pagewalk.tables.table import Entry, Slots, Table
from pagewalk.tables.tables import PageTables, Translation, told
from pagewalk.tables.verdict import BitName, Verdict, Withheld, judge, withheld

__all__ = [
    "BitName",
    "Entry",
    "PageTables",
    "Slots",
    "Table",
    "Translation",
    "Verdict",
    "Withheld",
    "judge",
    "told",
    "withheld",
]
