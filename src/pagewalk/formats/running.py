"""The format in which the running kernel keeps a process's tables, by what it says of the CPU.

The flags in ``/proc/cpuinfo`` are those that the kernel uses (``Documentation/arch/x86/cpuinfo.rst``, Linux 6.18):
booted with ``no5lvl`` it does not show ``la57``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.formats.find import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["running_format"]

_BY_FLAG: Final = {"la57": "x86-64-la57"}


def running_format(cpu_flags: Collection[str] = ()) -> str:
    """The name of the format that goes with these flags of ``/proc/cpuinfo``."""
    return next((form for flag, form in _BY_FLAG.items() if flag in cpu_flags), DEFAULT)
