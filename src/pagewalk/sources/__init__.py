"""Where page tables are found: open whatever holds memory, and ask it what it says of itself."""

from __future__ import annotations

from pagewalk.sources.asking import open_space, processes, roots
from pagewalk.sources.check import check_root, notes_of
from pagewalk.sources.detect import source_type as type_named
from pagewalk.sources.opening import open, refuse_process, source  # noqa: A004 - pw.open is the face
from pagewalk.sources.source import Source

__all__ = [
    "Source",
    "check_root",
    "notes_of",
    "open",
    "open_space",
    "processes",
    "refuse_process",
    "roots",
    "source",
    "type_named",
]
