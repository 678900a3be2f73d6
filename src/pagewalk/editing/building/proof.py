"""The proof that tables say what their layout says: they are walked back, and held against it.

It knows nothing of how tables are built: it asks ``mappings`` of the bytes, and does the layout's arithmetic again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pagewalk.errors import PagewalkError
from pagewalk.formats import KERNEL, Flag, Kind, Rights
from pagewalk.formats.access import ACCESSES
from pagewalk.formats.flags import GRANTED
from pagewalk.query import mappings, translate
from pagewalk.sweep.build import expanded

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.editing.building.areas import Areas
    from pagewalk.editing.building.build import Built
    from pagewalk.formats import PagingFormat
    from pagewalk.tables import PageTables

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["prove"]

_ONE = np.uint64(1)


def prove(built: Built) -> int:
    """Prove that tables equal their layout.

    Returns:
        How many bytes are mapped, in all roots together.

    Raises:
        PagewalkError: They do not; the message says where, and what differs.
    """
    return sum(_prove_root(built, number) for number in range(len(built.roots)))


def _prove_root(built: Built, number: int) -> int:
    """The same for one root."""
    name, layout = list(built.roots)[number], built.layout
    tables, areas = built.tables(name), layout.areas
    mine = np.flatnonzero((areas.sayings >= 0) & np.isin(areas.roots, (-1, number)))
    mine = mine[np.argsort(areas.vaddrs[mine])]
    wanted, rows = areas.some(mine), mappings(tables, hardware=True, limit=None)
    starts, lasts = rows["vaddr"], rows["vaddr"] + (rows["size"] - _ONE)
    ends = wanted.vaddrs + (wanted.sizes - _ONE)
    low = np.searchsorted(lasts, wanted.vaddrs)
    which, at = expanded(low, np.searchsorted(starts, ends, side="right") - low)
    first, last = np.maximum(starts[at], wanted.vaddrs[which]), np.minimum(lasts[at], ends[which])
    covered = np.zeros(len(mine), np.uint64)
    np.add.at(covered, which, last - first + _ONE)
    _all(built, covered == wanted.sizes, mine, "is not mapped as a whole")
    if int(covered.sum()) != int(rows["size"].sum()):
        maps, said = int(rows["size"].sum()), int(covered.sum())
        raise PagewalkError(f"the tables map {maps:#x} bytes, and the layout {said:#x}")
    _check_pages(built, tables, wanted.some(which), rows[at], (first, last), mine[which])
    _check_kernel(built, tables, wanted, mine)
    _check_reserves(built, tables, number)
    return int(covered.sum())


def _check_pages(
    built: Built, tables: PageTables, wanted: Areas, rows: Any, span: tuple[Words, Words], of: Any
) -> None:
    """Hold parts of rows against the regions that they are of."""
    first, last = span
    repeated = rows["flags"] & np.uint32(Flag.REPEATED) != 0
    one = last - first < rows["page_size"]
    paddrs = rows["paddr"] + np.where(repeated, np.uint64(0), first - rows["vaddr"])
    paddrs += np.where(repeated & one, (first - rows["vaddr"]) % rows["page_size"], np.uint64(0))
    offset = first - wanted.vaddrs
    _all(built, paddrs == wanted.paddrs + np.where(wanted.repeats, np.uint64(0), offset), of, "leads elsewhere")
    _all(built, one | (repeated == wanted.repeats), of, "has frames that do not follow each other as they should")
    _all(built, (wanted.largest == 0) | (rows["page_size"] <= wanted.largest), of, "has larger pages")
    leaves = [saying.leaf for saying in wanted.said]
    state = _sayable(tables.format)
    for name, column, values in (
        ("rights", rows["flags"] & np.uint32(GRANTED), [leaf.rights for leaf in leaves]),
        ("state", rows["flags"] & np.uint32(state), [leaf.flags & state for leaf in leaves]),
        ("memory type", rows["memory"], [leaf.memory for leaf in leaves]),
        ("protection key", rows["pkey"], [leaf.key for leaf in leaves]),
    ):
        if len(column):
            _all(built, column == np.array(values, np.uint32)[wanted.sayings], of, f"has another {name}")


def _sayable(form: PagingFormat) -> Flag:
    """The state that pages of a format can have."""
    rows = [row for level in form.hardware for row in level.rows if row.kind is Kind.PRESENT]
    found = Flag(0)
    for field in (field for row in rows for field in row.fields if not field.derived):
        found |= field.flags
    return found & (Flag.ACCESSED | Flag.DIRTY | Flag.GLOBAL)


def _check_kernel(built: Built, tables: PageTables, wanted: Areas, of: Any) -> None:
    """Hold the kernel's rights in user's pages against the regions that say them."""
    for number, saying in enumerate(wanted.said):
        some = wanted.sayings == number
        if saying.leaf.kernel is None or not some.any():
            continue
        found = np.zeros(some.sum(), np.uint8)
        for access, right in ACCESSES.items():
            if right & KERNEL:
                _, may = translate(tables, wanted.vaddrs[some], access=access)
                found |= np.where(may, np.uint8(right), np.uint8(0))
        usable = Rights(saying.leaf.kernel) if saying.leaf.flags & Flag.ACCESSED else Rights(0)
        _all(built, found == int(usable), of[some], "has other rights for the kernel")


def _check_reserves(built: Built, tables: PageTables, number: int) -> None:
    """Look for the tables that were to be there."""
    for one in built.layout.reserves:
        if one.root not in (None, built.layout.roots[number]):
            continue
        size = one.page or built.layout.format.page_size
        for vaddr in (one.vaddr, one.vaddr + one.size - 1):
            *_, last = tables.steps(vaddr)
            if last.level.span > size:
                raise PagewalkError(f"{built.layout.where(one)}: no table is there for {vaddr:#x}")


def _all(built: Built, right: Mask, regions: Any, why: str) -> None:
    """Refuse the first part of a region that is not right."""
    if not right.all():
        _fail(built, int(regions[int(np.argmin(right))]), why)


def _fail(built: Built, region: int, why: str) -> NoReturn:
    raise PagewalkError(f"{built.layout.where(built.layout.regions[region])} {why} in the tables")
