"""Changing page tables that somebody else owns: a plan made on an overlay, checked, journalled, committed, undone.

And making new ones: ``building``.
"""

from __future__ import annotations

from pagewalk.editing.building.build import Built, build
from pagewalk.editing.building.layout import Layout, Region, Reserve
from pagewalk.editing.change import Change, edit
from pagewalk.editing.commit import Committed, recover, undo
from pagewalk.editing.plan import Plan

__all__ = [
    "Built",
    "Change",
    "Committed",
    "Layout",
    "Plan",
    "Region",
    "Reserve",
    "build",
    "edit",
    "recover",
    "undo",
]
