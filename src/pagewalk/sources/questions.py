"""Questions to a source, from its path on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.sources.opening import source as opened

if TYPE_CHECKING:
    import os as operating_system
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat
    from pagewalk.sources.source import Source

    Rows = npt.NDArray[np.void]

__all__ = ["roots"]


def roots(
    source: str | operating_system.PathLike[str] | Source,
    *,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    registers: Mapping[str, Any] | str | None = None,
    os: str | None = None,
    source_type: str | None = None,
    formats: Iterable[str | PagingFormat] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rows:
    """Find every process's root and the kernel's in memory alone: no symbols are needed, and no registers.

    All memory is gone through once. What looks like a top table is proved by a walk of what is below it, and by the
    kernel's part, which must map most of the memory. Known are Linux's, in the formats that ``formats`` takes.

    Args:
        source: The image's path, or a ``Source``.
        base, segments, source_type: As ``pagewalk.source``. With a wrong base nothing is found.
        registers: Those of a CPU, as ``pagewalk.open`` takes them: the format follows from them, and the row of the
            root that they name says so. None: the source's own, if it has any.
        os: The operating system whose entries stand beside the hardware's, as ``pagewalk.open``.
        formats: Formats or their names; None: what registers say, else all that are known by the looks of their roots.
        progress: Given how many bytes the pass has gone through, and how many there are.

    Returns:
        A row a root, best first. Shape (n,), structured: ``root``, ``user_root`` (PTI: the other one of the pair, else
        0), ``format``, ``levels``, ``kind`` (``process`` or ``kernel``), ``kernel`` (its number: roots of one kernel
        have the same), ``score`` (0 to 1), ``pages`` (user pages seen), ``cpu`` (whose registers name it; -1: nobody's)
        and ``reason``. Roots that lead to no user page are left out: those of programs that have ended.

    Raises:
        OSError, ImageFormatError: As ``pagewalk.source``.
        UnsupportedError: The source does not say where it has memory; a format whose roots have no looks.
        MemoryReadError: The memory says that it has bytes, and does not give them.
        ValueError, TypeError: As ``pagewalk.open``.
    """
    one = opened(source, base=base, segments=segments, source_type=source_type)
    try:
        return one.roots(registers=registers, os=os, formats=formats, progress=progress)
    finally:
        if one is not source:
            one.close()
