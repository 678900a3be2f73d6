"""Where page tables are found: open whatever holds memory, and ask it what it says of itself."""

from __future__ import annotations

from pagewalk.sources.check import check_root, notes_of
from pagewalk.sources.opening import open, refuse_remote, source  # noqa: A004 - pw.open is the face
from pagewalk.sources.questions import roots
from pagewalk.sources.source import Source

__all__ = ["Source", "check_root", "notes_of", "open", "refuse_remote", "roots", "source"]
