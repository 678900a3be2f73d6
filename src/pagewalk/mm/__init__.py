"""The simulated address space: it behaves as Linux's does, and is the one owner of the installing walkers."""

from __future__ import annotations

from pagewalk.mm.files import File
from pagewalk.mm.guard import install_guards, remove_guards
from pagewalk.mm.machine import Machine
from pagewalk.mm.mm import Event, Mm

__all__ = ["Event", "File", "Machine", "Mm", "install_guards", "remove_guards"]
