"""What was found, as rows: grouped by kernel, best first, with a score and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.sources.finding.kernels import COVERED, DirectMap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pagewalk.sources.finding.choose import Kernel, Roots

    Rows = npt.NDArray[np.void]

__all__ = ["KERNEL", "PROCESS", "ROOTS", "rows_of"]

PROCESS, KERNEL = "process", "kernel"
"""The two kinds of roots."""
ROOTS: Final = np.dtype(
    [
        ("root", np.uint64),
        ("user_root", np.uint64),
        ("format", "U24"),
        ("levels", np.uint8),
        ("kind", "U8"),
        ("kernel", np.int32),
        ("score", np.float64),
        ("pages", np.int64),
        ("cpu", np.int32),
        ("reason", "U192"),
    ]
)
"""A row of ``roots``:

* ``root``: physical address of the top table, in bytes; of a process that has two (PTI), the kernel's.
* ``user_root``: that of the user's, where there are two; else 0.
* ``format``, ``levels``: the paging format, and how many levels it has.
* ``kind``: ``process``, or ``kernel``: the kernel's own.
* ``kernel``: which kernel it belongs to, counted from 0, the best first.
* ``score``: 0 to 1: the share of entries that are sound, of pages that lie in memory, of memory that its kernel maps.
* ``pages``: pages of the user's that were seen (of 64 tables a level at most).
* ``cpu``: the first CPU whose registers name it; -1: none is known to.
* ``reason``: all that in words.
"""


class _Group(NamedTuple):
    """Roots of one kernel."""

    roots: Roots
    kernel: Kernel | None
    direct: DirectMap
    users: list[int]


def rows_of(found: Sequence[Roots], cpus: Mapping[int, int]) -> Rows:
    """The rows of what was found.

    Args:
        found: It, by reading.
        cpus: The CPU that uses a root, by its address.
    """
    groups = [group for roots in found for group in _groups(roots)]
    groups.sort(key=lambda group: (group.kernel is None, -len(group.users)))
    lines: list[tuple[Any, ...]] = []
    for number, group in enumerate(groups):
        mine = [_process(group, at) for at in group.users]
        mine.sort(key=lambda line: (-round(line[6], 2), -line[7], line[0]))
        lines += [(*line[:5], number, *line[6:]) for line in ([_kernel(group)] if group.kernel else []) + mine]
    rows: Rows = np.array(lines, ROOTS)
    for at, row in enumerate(rows):
        used = [cpus[one] for one in (int(row["root"]), int(row["user_root"])) if one in cpus]
        rows["cpu"][at] = min(used, default=-1)
    return rows


def _groups(roots: Roots) -> list[_Group]:
    """The roots of one reading by kernel: where a top table has both parts, by the direct map in it."""
    kernels: dict[int, Kernel] = {}
    for one in sorted(roots.kernels, key=lambda one: (-one.direct.covered, one.at)):
        kernels.setdefault(one.direct.distance, one)
    if not roots.proved.reading.shared:
        first = next(iter(kernels.values()), None)
        return [_Group(roots, first, first.direct if first else DirectMap(), roots.users)] if roots.users else []
    users: dict[int, list[int]] = {}
    for at in roots.users:
        users.setdefault(roots.direct[at].distance, []).append(at)
    return [_Group(roots, kernels.get(key), roots.direct[mine[0]], mine) for key, mine in users.items()]


def _process(group: _Group, at: int) -> tuple[Any, ...]:
    """The row of a process."""
    seen, proved = group.roots.proved.seen, group.roots.proved
    words, leaves, pages = int(seen.words[at]), int(seen.leaves[at]), int(seen.user[at])
    sound, inside = 1 - int(seen.bad[at]) / max(words, 1), int(seen.inside[at]) / max(leaves, 1)
    twin = group.roots.twins.get(at)
    reason = [f"{pages:,} user pages seen, {inside:.0%} of all in memory, {sound:.0%} of {words:,} entries sound"]
    if seen.missing[at]:
        reason.append(f"{int(seen.missing[at]):,} tables are not in the dump")
    if group.direct.covered:
        reason.append(f"its kernel maps {_mapped(group.direct)}")
    if twin is not None:
        reason.append("the user's root behind it has the same tables")
    score = sound * inside * (group.direct.covered or COVERED)
    user_root = 0 if twin is None else int(proved.candidates.paddrs[twin])
    return _row(group, at, user_root, PROCESS, score, pages, "; ".join(reason))


def _kernel(group: _Group) -> tuple[Any, ...]:
    """The row of a kernel."""
    assert group.kernel is not None
    at, image, direct = group.kernel
    where = f"and itself in its image at {image:#x}" if image else "and nothing of the user's"
    return _row(group, at, 0, KERNEL, direct.covered, 0, f"maps {_mapped(direct)}, {where}")


def _row(group: _Group, at: int, user_root: int, kind: str, score: float, pages: int, reason: str) -> tuple[Any, ...]:
    """A row, but for the number of its kernel and its CPU."""
    proved = group.roots.proved
    root, reading = int(proved.candidates.paddrs[at]), proved.reading
    return root, user_root, reading.form.name, reading.depth, kind, 0, score, pages, -1, reason


def _mapped(direct: DirectMap) -> str:
    """What a direct map has, in words."""
    return f"{direct.covered:.0%} of memory at its address plus {direct.distance:#x}"
