"""The one root that a user means who names none, where it is clear which that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pagewalk.errors import UnsupportedError
from pagewalk.sources.finding.rows import KERNEL, PROCESS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat, Window

    Rows = npt.NDArray[np.void]

__all__ = ["AUTO", "clear_one", "windows_at"]

AUTO: Final = "auto"
"""In place of a root: the best that is found."""
_TOLD: Final = 6
"""Candidates that a message names."""


def clear_one(rows: Rows) -> tuple[Any, Any]:
    """The row of the process and that of the kernel, if it is clear which are meant; None for one that there is not.

    One kernel: its own root, and the process, if there is just one. No kernel: the only process.

    Raises:
        UnsupportedError: It is not clear, or nothing was found.
    """
    if not len(rows):
        why = "no page tables that prove themselves, in a format that is looked for"
        raise UnsupportedError(f"root {AUTO}: {why}: is the base right (--base 0, 1G, 2G), is anything cut off?")
    kernels, users = rows[rows["kind"] == KERNEL], rows[rows["kind"] == PROCESS]
    one_kernel = len(kernels) == 1 and not rows["kernel"].any()
    if not one_kernel and (len(kernels) or len(users) > 1):
        raise UnsupportedError(f"root {AUTO}: it is not clear which is meant: {_told(rows)}: give one as the root")
    return users[0] if len(users) == 1 else None, kernels[0] if one_kernel else None


def windows_at(form: PagingFormat, process: Any, kernel: Any) -> tuple[Window, ...]:
    """A format's windows with the roots of a process and of a kernel; without those whose root is not known.

    Args:
        form: The format.
        process, kernel: Rows of ``roots``, or None. Where one top table has all windows, that of the process is taken
            if there is one.
    """
    user, upper = form.windows[0], form.windows[-1]
    if form.has_one_root:
        root = int((kernel if process is None else process)["root"])
        return tuple(window._replace(root=root) for window in form.windows)
    known = ((user, process), (upper, kernel))
    return tuple(window._replace(root=int(row["root"])) for window, row in known if row is not None)


def _told(rows: Rows) -> str:
    """Candidates in a message."""
    told = [f"{int(row['root']):#x} ({row['format']}, {row['kind']} of kernel {row['kernel']})" for row in rows[:_TOLD]]
    more = [f"{len(rows) - _TOLD:,} more"] if len(rows) > _TOLD else []
    return ", ".join([*told, *more])
