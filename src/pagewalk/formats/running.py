"""The format in which the running kernel keeps a process's tables, and the one in which a capture shows them.

The flags in ``/proc/cpuinfo`` are those that the kernel uses (``Documentation/arch/x86/cpuinfo.rst``, Linux 6.18):
booted with ``no5lvl`` it does not show ``la57``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from pagewalk.formats.fields import flag
from pagewalk.formats.find import DEFAULT
from pagewalk.formats.flags import Flag
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.formats.os.linux import LINUX, Linux
from pagewalk.formats.os.linux_x86 import linux_x86

if TYPE_CHECKING:
    from collections.abc import Collection

    from pagewalk.formats.paging import PagingFormat

__all__ = ["capture_format", "running_format"]

_BY_FLAG: Final = {"la57": "x86-64-la57"}
_LEVELS: Final = (4, 5)
_KNOWN: Final = (
    flag("file", 52, Flag.FILE),
    flag("mapped_once", 53, Flag.EXCLUSIVE),
    flag("no_frame", 54, Flag.NO_FRAME),
)
"""What pagemap knows and no page table holds, in bits that the MMU ignores."""


def running_format(cpu_flags: Collection[str] = ()) -> str:
    """The name of the format that goes with these flags of ``/proc/cpuinfo``."""
    return next((form for flag, form in _BY_FLAG.items() if flag in cpu_flags), DEFAULT)


def capture_format(top: int, linux: Linux = LINUX) -> PagingFormat:
    """The format of a capture: x86-64 whatever the machine, of as few levels as its addresses need.

    Args:
        top: Where the last of them ends.
        linux: The kernel, for the numbers of its swap types.
    """
    forms = (_captured(levels, linux) for levels in _LEVELS)
    return next((form for form in forms if top <= form.windows[0].end), _captured(_LEVELS[-1], linux))


@cache
def _captured(levels: int, linux: Linux) -> PagingFormat:
    return x86_64(levels, layer=linux_x86(levels, linux, _KNOWN))
