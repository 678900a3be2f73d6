"""PAGEMAP_SCAN: what the kernel says of a range's pages, as runs (Linux 6.7; guard regions since 6.15).

Source: ``Documentation/admin-guide/mm/pagemap.rst``, Linux 6.18; the numbers are in ``abi.pagemap``.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.abi.pagemap import PAGE_REGION, PAGEMAP_SCAN, PM_SCAN_ARG, PageIs
from pagewalk.doors import integer, integers
from pagewalk.errors import UnsupportedError
from pagewalk.live.kernel import PAGE
from pagewalk.live.procfs import ProcessFiles

try:
    import fcntl
except ImportError:  # another operating system: the module can be imported there, and says so when it is used
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.errors import PagewalkError

__all__ = ["REGION", "Scanner", "scan", "scan_files"]


REGION: Final = np.dtype([(name, np.uint64) for name in PAGE_REGION])
"""``struct page_region``: ``[start, end)`` in bytes, and its ``PageIs`` bits."""

_ARGUMENT: Final = np.dtype([(name, np.uint64) for name in PM_SCAN_ARG])
_VECTOR: Final = 4096


def scan(
    pid: int,
    start: int,
    end: int,
    *,
    anyof: PageIs = PageIs.PRESENT | PageIs.SWAPPED,
    allof: PageIs = PageIs(0),  # noqa: B008 - an enum's member is a constant
    returns: PageIs | None = None,
) -> npt.NDArray[np.void]:
    """Scan a range of a process with PAGEMAP_SCAN.

    Args:
        pid: The process; 0 for this one.
        start, end: Virtual addresses in bytes, whole pages, half-open.
        anyof: Report pages that are any of these; none: all pages in VMAs.
        allof: Report pages that are all of these.
        returns: Categories to report, which are also what tells one region from the next; by default all that the
            kernel knows.

    Returns:
        The regions, ascending, structured as ``REGION``.

    Raises:
        UnsupportedError: The kernel has no PAGEMAP_SCAN (Linux 6.7), or not these categories (GUARD: 6.15).
        ProcessError: As ``ProcessFiles``.
        TypeError, ValueError: No integers, or no range of whole pages.
    """
    pid, start, end = integers(pid=pid, start=start, end=end)
    anyof, allof = PageIs(integer(anyof, "anyof")), PageIs(integer(allof, "allof"))
    if not 0 <= start <= end < 1 << 64 or (start | end) % PAGE:
        raise ValueError(f"not a range of whole pages: [{start:#x}, {end:#x})")
    with ProcessFiles(pid) as files:
        if returns is not None:
            return scan_files(files, start, end, anyof=anyof, allof=allof, returns=returns)
        try:
            return scan_files(files, start, end, anyof=anyof, allof=allof, returns=PageIs.every())
        except UnsupportedError:
            older = PageIs.every() ^ PageIs.GUARD
            return scan_files(files, start, end, anyof=anyof, allof=allof, returns=older)


class Scanner:
    """PAGEMAP_SCAN on open files, a vector of answers at a time.

    Args:
        files: The process.
        end: Where it is to stop, in bytes.
        anyof, allof, returns: As ``scan``.
        vector: Where the kernel puts its answers, if something is at hand.
    """

    def __init__(
        self,
        files: ProcessFiles,
        end: int,
        *,
        anyof: PageIs,
        returns: PageIs,
        allof: PageIs = PageIs(0),  # noqa: B008
        vector: npt.NDArray[np.void] | None = None,
    ) -> None:
        self._files, self._end = files, end
        self.vector = np.empty(_VECTOR, REGION) if vector is None else vector
        self._categories = returns | anyof | allof
        argument = self._argument = np.zeros(1, _ARGUMENT)
        argument["size"], argument["end"] = _ARGUMENT.itemsize, end
        argument["vec"], argument["vec_len"] = self.vector.ctypes.data, len(self.vector)
        argument["category_mask"], argument["category_anyof_mask"] = int(allof), int(anyof)
        argument["return_mask"] = int(returns)

    def step(self, start: int) -> tuple[npt.NDArray[np.void], int]:
        """One call.

        Returns:
            The regions, in the vector: good until the next call. How far the kernel came.
        """
        self._argument["start"] = start
        try:
            count = int(fcntl.ioctl(self._files.pagemap, PAGEMAP_SCAN, self._argument.data))
        except OSError as error:
            raise _meaning(error, self._files, self._categories) from None
        regions = self.vector[:count]
        # The kernel (6.18) goes on in rounds of 512 regions, and forgets to set walk_end in the round that is the last.
        if count < len(self.vector):
            return regions, self._end
        return regions, max(int(self._argument["walk_end"][0]), int(regions["end"][-1]))


def scan_files(files: ProcessFiles, start: int, end: int, **options: Any) -> npt.NDArray[np.void]:
    """``scan`` with the files open; ``options`` as ``Scanner``."""
    scanner = Scanner(files, end, **options)
    found = []
    while start < end:
        regions, start = scanner.step(start)
        found.append(regions.copy())
    return np.concatenate(found) if found else np.empty(0, REGION)


def _meaning(error: OSError, files: ProcessFiles, categories: PageIs) -> PagewalkError:
    """What an errno of the ioctl means."""
    if error.errno == errno.ENOTTY:
        return UnsupportedError("PAGEMAP_SCAN needs Linux 6.7: this kernel does not have it")
    if error.errno == errno.EINVAL:
        newer = " (PAGE_IS_GUARD: 6.15)" if PageIs.GUARD in categories else ""
        return UnsupportedError(
            f"PAGEMAP_SCAN refused: it needs Linux 6.7, whole pages, and categories that the kernel knows{newer}"
        )
    if error.errno == errno.EFAULT:
        return UnsupportedError("PAGEMAP_SCAN refused: the range reaches beyond the addresses of a process")
    return files.error(error.errno or errno.EIO)
