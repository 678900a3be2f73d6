"""Conformance kits: what pagewalk demands of the parts that others write, as checks they run themselves."""

from __future__ import annotations

from pagewalk.testing.memory import check_memory

__all__ = ["check_memory"]
