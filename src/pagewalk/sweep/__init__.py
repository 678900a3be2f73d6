"""The array engine: bulk questions and bulk changes, a level at a time. See ``descent`` for how it works."""

from __future__ import annotations

from pagewalk.sweep.batches import Progress, walk
from pagewalk.sweep.census import COUNT, count
from pagewalk.sweep.columns import Columns
from pagewalk.sweep.filters import Filter
from pagewalk.sweep.install import Installation, install
from pagewalk.sweep.jit import per_entry
from pagewalk.sweep.listing import MAX_ROWS, holes, iterate, mappings
from pagewalk.sweep.translation import translate

__all__ = [
    "COUNT",
    "MAX_ROWS",
    "Columns",
    "Filter",
    "Installation",
    "Progress",
    "count",
    "holes",
    "install",
    "iterate",
    "mappings",
    "per_entry",
    "translate",
    "walk",
]
