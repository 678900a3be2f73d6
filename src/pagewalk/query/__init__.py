"""Questions about page tables, answered for whole arrays at once. See ``levels`` for how it works."""

from __future__ import annotations

from pagewalk.query.listing import HOLE, MAPPING, PAGE, holes, mappings
from pagewalk.query.translation import translate

__all__ = ["HOLE", "MAPPING", "PAGE", "holes", "mappings", "translate"]
