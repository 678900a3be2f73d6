"""The simulated address space: the one owner of the installing walkers."""

from __future__ import annotations

from pagewalk.mm.guard import install_guards, remove_guards

__all__ = ["install_guards", "remove_guards"]
