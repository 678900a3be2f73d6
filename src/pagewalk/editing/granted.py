"""What the tables above leave of the rights that a page's entry grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pagewalk.editing.ways import ways
from pagewalk.errors import EditError
from pagewalk.formats import Flag, made, rights_text
from pagewalk.formats.flags import GRANTED, flags_of
from pagewalk.formats.leaf import Leaf

if TYPE_CHECKING:
    from pagewalk.tables import PageTables

__all__ = ["check_granted"]


def check_granted(tables: PageTables, span: tuple[int, int], rights: Flag) -> None:
    """Refuse rights that a table above a page withholds.

    Raises:
        EditError: One does; the message names the first.
    """
    if not rights & GRANTED:
        return
    for way in ways(tables, *span):
        if not way.level.may_be_leaf:
            continue
        granted = way.level.decode(made(way.level, 0, Leaf(rights))).rights
        for left in np.unique(way.rights).tolist():
            now = flags_of(way.level.access.allowed(granted & left)) & GRANTED
            if now != rights & GRANTED:
                vaddr = int(way.vaddrs[int((way.rights == left).argmax())])
                raise _withheld(tables, vaddr, granted, rights, now)


def _withheld(tables: PageTables, vaddr: int, granted: int, rights: Flag, now: Flag) -> EditError:
    """The error that names the first entry that withholds a right."""
    for entry in tables.steps(vaddr):
        if entry.is_table and granted & ~entry.level.decode(entry.value).rights:
            break
    why = f"the {entry.level.real_name} entry {entry.value:#x} at physical {entry.paddr:#x} leaves {rights_text(now)}"
    return EditError(f"{rights_text(rights)} cannot be granted here: {why} of it", vaddr)
