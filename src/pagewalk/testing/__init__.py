"""Conformance kits: what pagewalk demands of the parts that others write, as checks they run themselves."""

from __future__ import annotations

from pagewalk.testing.format import check_format
from pagewalk.testing.golden import Golden, read_golden
from pagewalk.testing.memory import check_memory
from pagewalk.testing.reference import Found, Reference, Said, Walker

__all__ = ["Found", "Golden", "Reference", "Said", "Walker", "check_format", "check_memory", "read_golden"]
