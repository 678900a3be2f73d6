"""The walk: the kernel's page-walk contract, one entry at a time. See ``walker`` for how it works."""

from __future__ import annotations

from pagewalk.walk.folio import FolioWalk, folio_walk
from pagewalk.walk.ops import (
    PGWALK_RDLOCK,
    PGWALK_VMA_RDLOCK_VERIFY,
    PGWALK_WRLOCK,
    PGWALK_WRLOCK_VERIFY,
    SKIP,
    Action,
    Walk,
    WalkLock,
    WalkOps,
)
from pagewalk.walk.ranges import (
    walk_page_mapping,
    walk_page_range,
    walk_page_range_novma,
    walk_page_range_vma,
    walk_page_vma,
)

__all__ = [
    "PGWALK_RDLOCK",
    "PGWALK_VMA_RDLOCK_VERIFY",
    "PGWALK_WRLOCK",
    "PGWALK_WRLOCK_VERIFY",
    "SKIP",
    "Action",
    "FolioWalk",
    "Walk",
    "WalkLock",
    "WalkOps",
    "folio_walk",
    "walk_page_mapping",
    "walk_page_range",
    "walk_page_range_novma",
    "walk_page_range_vma",
    "walk_page_vma",
]
