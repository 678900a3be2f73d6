"""Changing page tables that somebody else owns: a plan made on an overlay, checked, journalled, committed, undone."""

from __future__ import annotations

from pagewalk.editing.change import Change, edit
from pagewalk.editing.commit import Committed, recover, undo
from pagewalk.editing.plan import Plan

__all__ = ["Change", "Committed", "Plan", "edit", "recover", "undo"]
