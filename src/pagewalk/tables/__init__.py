"""Page tables: tables and their entries, and the way from a root to an address. In order: ``table``, ``tables``."""

from __future__ import annotations

from pagewalk.tables.table import Entry, Slots, Table
from pagewalk.tables.tables import PageTables, Translation, told

__all__ = ["Entry", "PageTables", "Slots", "Table", "Translation", "told"]
