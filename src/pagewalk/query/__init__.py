"""Questions about page tables, answered for whole arrays at once, by the sweep."""

from __future__ import annotations

from pagewalk.query.listing import HOLE, MAPPING, PAGE, holes, mappings
from pagewalk.query.read import read
from pagewalk.sweep.translation import translate

__all__ = ["HOLE", "MAPPING", "PAGE", "holes", "mappings", "read", "translate"]
