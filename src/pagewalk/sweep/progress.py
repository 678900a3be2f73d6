"""Telling how far a sweep is, from whichever thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress"]


class Progress:
    """Counts tables of the last level, and tells.

    Args:
        tell: Given how many are done, and how many are known; None: nobody listens.
    """

    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self.done = 0
        self.known = 0

    def expect(self, tables: int) -> None:
        """So many more are known."""
        self.known += tables

    def advance(self, tables: int, *, quietly: bool = False) -> None:
        """So many more are done."""
        with self._lock:
            self.done += tables
        if not quietly:
            self.tell()

    def tell(self) -> None:
        """Tell how far it is."""
        if self._tell is not None:
            self._tell(self.done, self.known)
