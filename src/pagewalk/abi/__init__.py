"""The kernel's own numbers, each with the header it stands in. Here: what system calls take and signals carry.

The rest is asked for by its file: ``abi.pagemap``, ``abi.processes``, ``abi.syscalls``.
"""

from __future__ import annotations

from pagewalk.abi import mman, signals
from pagewalk.abi.mman import *  # noqa: F403
from pagewalk.abi.signals import *  # noqa: F403

__all__: list[str] = []
__all__ += mman.__all__
__all__ += signals.__all__
