"""The simulated address space: it behaves as Linux's does, and is the one owner of the installing walkers.

Its rooms, top to bottom; a file imports what stands below it, never what stands above:

- ``machine``, ``mm``: the face. Locks are taken here, arguments made plain numbers.
- ``calls/``: one file a family of system calls; what the CPU and the kernel do for a process.
- ``paging/``: what calls and faults have in common: faults, huge pages, hugetlb, copying, reclaim, zapping.
- ``state/``: areas, tables, files, the ``Space`` that has them; counting it all anew.
- ``hardware/``: the CPU, RAM and its frames, the swap device, and ``Hardware``, which has them and the lock.
- ``geometry``: sizes by level, from the format. ``entries``: what entries say, and how they are made.

Nothing below the face knows ``Mm`` or ``Machine``: it works on a ``Space`` and its ``Hardware``.
"""

from __future__ import annotations

from pagewalk.mm.calls.guard import install_guards, remove_guards
from pagewalk.mm.machine import Machine
from pagewalk.mm.mm import Mm
from pagewalk.mm.state.files import File
from pagewalk.mm.state.space import Event

__all__ = ["Event", "File", "Machine", "Mm", "install_guards", "remove_guards"]
