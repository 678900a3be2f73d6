"""What processes are made and watched by: numbers of ``clone``, ``prctl``, files, and a bit of ``stat``.

Source: ``include/uapi/linux/sched.h``, ``prctl.h``, ``falloc.h``, ``include/linux/sched.h``, Linux 6.18.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLONE_PARENT", "FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "PF_KTHREAD", "PR_SET_PDEATHSIG",
]  # fmt: skip

CLONE_PARENT: Final = 0x8000
PR_SET_PDEATHSIG: Final = 1

FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2

PF_KTHREAD: Final = 0x20_0000
"""Of the flags in ``/proc/PID/stat``: a kernel thread."""
