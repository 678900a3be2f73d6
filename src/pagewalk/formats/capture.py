"""The format of a capture: tables that are made from what a kernel tells of a process's pages.

They are no machine's own, so one format serves on all of them. In bits that its hardware ignores it has room for what a
kernel tells and no page table holds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pagewalk.formats.fields import flag
from pagewalk.formats.flags import Flag
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.formats.os.linux import LINUX, Linux
from pagewalk.formats.os.linux_x86 import linux_x86

if TYPE_CHECKING:
    from pagewalk.formats.paging import PagingFormat

__all__ = ["capture_format"]

_TOLD: Final = (
    flag("file", 52, Flag.FILE),
    flag("exclusive", 53, Flag.EXCLUSIVE),
    flag("no_frame", 54, Flag.NO_FRAME),
)


@lru_cache(maxsize=4)
def capture_format(end: int = 0, kernel: Linux = LINUX) -> PagingFormat:
    """The format of a capture.

    Args:
        end: The end of the process's addresses: one that needs more levels gets them.
        kernel: The kernel that tells of the pages.
    """
    levels = 4 if end <= 1 << 47 else 5
    return x86_64(levels, layer=linux_x86(levels, kernel, _TOLD))
