"""What rows of a listing say against the operating system as whose entries they were read: it would not have them.

A swap device has fewer slots than 2**32, since its header counts them in 32 bits, and there are at most 32 devices
(``union swap_header`` and ``MAX_SWAPFILES_SHIFT`` in ``include/linux/swap.h``, 3.10 to 7.3). Windows has fewer of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.errors import TranslationError
from pagewalk.formats import Flag, Kind
from pagewalk.formats.arrays import attributes_of, kinds_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.tables import PageTables

    Rows = npt.NDArray[np.void]

__all__ = ["Doubts"]

_SLOTS, _DEVICES = 1 << 32, 32
_ASKED: Final = 64
"""Entries that are looked at one by one."""
_WAYS: Final = (
    ("slots", "names a swap slot that no device has", "name swap slots that no device has"),
    ("unknown", "holds a mark that this kernel does not know", "hold marks that this kernel does not know"),
    ("outside", "names a frame outside the image", "name frames outside the image"),
)


class Doubts:
    """What speaks against a system.

    Args:
        tables: Whose rows they are; None: their entries cannot be asked.

    Attributes:
        slots: Rows of swap where no swap can be.
        unknown: Rows of entries that no kernel of that version writes, of the first that are neither a page nor swap.
        outside: Rows of frames that the memory does not have, and that are no device's: a kernel maps those for itself.
    """

    def __init__(self, tables: PageTables | None = None) -> None:
        self.slots = self.unknown = self.outside = 0
        self._tables, self._asked = tables, 0

    def add(self, block: Rows) -> None:
        """Look at a block."""
        states = np.ascontiguousarray(block["state"])
        kinds = kinds_of(states)
        outside = states & np.uint32(Flag.OUTSIDE) != 0
        device = (kinds == Kind.PRESENT.value) & (states & np.uint32(Flag.USER) == 0)
        self.outside += int(np.count_nonzero(outside & ~device))
        swap = kinds == Kind.SWAP.value
        slots = block["place"][swap] // block["page_size"][swap]
        nowhere: Any = (slots >= np.uint64(_SLOTS)) | (attributes_of(states[swap]) >= _DEVICES)
        self.slots += int(np.count_nonzero(nowhere))
        others = block["vaddr"][kinds == Kind.OTHER.value][: _ASKED - self._asked].tolist()
        self._asked += len(others)
        self.unknown += sum(map(self._is_unknown, others))

    def _is_unknown(self, vaddr: int) -> bool:
        """Whether no kernel of that version writes the entry at an address."""
        try:
            entries = [] if self._tables is None else [*self._tables.steps(vaddr)]
        except TranslationError:
            return False
        return bool(entries) and entries[-1].level.decode(entries[-1].value).row.unknown

    def __str__(self) -> str:
        """A line with the likely causes; empty: there is nothing to say."""
        told = []
        for name, one, many in _WAYS:
            if rows := getattr(self, name):
                told.append(f"1 row {one}" if rows == 1 else f"{rows:,} rows {many}")
        causes = "another kernel version (--os), an encryption bit" if self.outside else "another kernel version (--os)"
        return f"{', '.join(told)}: {causes}, or the wrong format?" if told else ""
