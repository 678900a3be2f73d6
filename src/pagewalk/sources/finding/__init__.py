"""Roots in bare memory: found by what page tables are, with no symbols, in one pass. See ``find`` for how it works."""

from __future__ import annotations

from pagewalk.sources.finding.auto import AUTO, clear_one, windows_at
from pagewalk.sources.finding.find import find, searchable
from pagewalk.sources.finding.rows import KERNEL, PROCESS, ROOTS, rows_of

__all__ = ["AUTO", "KERNEL", "PROCESS", "ROOTS", "clear_one", "find", "rows_of", "searchable", "windows_at"]
