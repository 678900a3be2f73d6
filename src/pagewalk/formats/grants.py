"""What entries grant, and which accesses go through, looked up for whole arrays.

How it works. The rights of an entry follow from few of its bits, which are packed into an index, as ``arrays`` does
with all that decide. Rights, accessed, dirty and the key together have 12 bits: for each access there is a table of
them, which the rules fill once. So an access is two lookups more a page, whatever rules there are.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats.codec import ATTRIBUTES_SHIFT, KEY_SHIFT
from pagewalk.formats.fields import RIGHTS
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.packed import packed, runs_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats.access import AccessRule, AccessRules
    from pagewalk.formats.codec import Codec

    Words = npt.NDArray[np.uint64]
    Bytes = npt.NDArray[np.uint8]

__all__ = ["AGES", "AGE_FROM", "AGE_TO", "KEYS", "KEY_FROM", "KEY_TO", "UNKNOWN", "Grants", "code_of", "permitted"]

UNKNOWN: Final = 255
"""No set of rights: nobody has asked."""
AGES, AGE_FROM, AGE_TO = 3, Flag.ACCESSED.bit_length() - 1, 6
"""Accessed and dirty: their bits, where they are in a state, and where they go in a code, above the rights."""
KEYS, KEY_FROM, KEY_TO = 15, ATTRIBUTES_SHIFT + KEY_SHIFT, 8
"""The same of the key."""
_RIGHTS: Final = (1 << AGE_TO) - 1
_CODES: Final = KEYS + 1 << KEY_TO


class Grants:
    """The rights that a level's tables and pages grant.

    Args:
        codec: The level's decoder for one entry.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        live = [row for row in codec.rows if row.kind in (Kind.TABLE, Kind.PRESENT)]
        fields = [field.mask for row in live if (field := row.field(RIGHTS)) is not None]
        self.mask = reduce(or_, (*fields, *(row.tested for row in live))) if fields else 0
        """The bits that tell what an entry grants that is a table or a page."""
        self.runs = runs_of(self.mask)
        self._known: dict[int, int] = {}
        self.lookup = np.full(1 << sum(run.bits for run in self.runs), UNKNOWN, np.uint8)

    def of(self, entries: Words) -> Bytes:
        """The rights that entries grant, all of them tables or pages, of those that the levels above do. Shape (n,)."""
        if not len(entries):
            return np.empty(0, np.uint8)
        low, high = int(np.bitwise_and.reduce(entries)), int(np.bitwise_or.reduce(entries))
        if not (low ^ high) & self.mask:
            return np.full(len(entries), self._one(low & self.mask, entries[:1]), np.uint8)
        index = packed(entries, self.runs)
        rights = self.lookup.take(index, mode="clip")
        if rights.max() == UNKNOWN:
            firsts = np.unique(index[rights == UNKNOWN], return_index=True)[1]
            self._learn(entries[rights == UNKNOWN][firsts])
            rights = self.lookup.take(index, mode="clip")
        return rights

    def _one(self, telling: int, entry: Words) -> int:
        """The rights that one entry grants, by the bits that tell."""
        if telling not in self._known:
            self._learn(entry)  # the compiled kernels want to know it too
            self._known[telling] = self._codec.decode(int(entry[0])).rights
        return self._known[telling]

    def _learn(self, entries: Words) -> None:
        """Write down what entries grant: by their bits as they are, gaps between runs too, and by those that tell."""
        rights = [self._codec.decode(entry).rights for entry in entries.tolist()]
        for some in (entries, entries & np.uint64(self.mask)):
            self.lookup[packed(some, self.runs)] = rights


def code_of(rights: Bytes, states: Any) -> npt.NDArray[np.intp]:
    """The index into ``permitted`` of pages.

    Args:
        rights: What all levels grant. Shape (n,).
        states: The pages' states, one for all or shape (n,).
    """
    age, key = states >> AGE_FROM & AGES, states >> KEY_FROM & KEYS
    return rights.astype(np.intp) | age << AGE_TO | key << KEY_TO


@lru_cache(maxsize=64)
def permitted(access: AccessRules, right: int) -> Bytes:
    """Whether an access goes through, by a page's rights, age and key. Shape (codes,), 1 where it does.

    Args:
        access: The rules.
        right: The right that the access takes.
    """
    codes = np.arange(_CODES)
    rights = codes & _RIGHTS
    for rule in (*access.rules, *access.checks):
        rights = np.where(_meant(rule, codes, rights), rule.applied(rights), rights)
    return (rights & right != 0).astype(np.uint8)


def _meant(rule: AccessRule, codes: npt.NDArray[np.intp], rights: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """To which codes a rule applies, given the rights that the rules before have left."""
    flags = (codes >> AGE_TO & AGES) << AGE_FROM
    meant = (rights & int(rule.where) != 0) & (rights & int(rule.without) == 0) & (flags & int(rule.lacking) == 0)
    return meant if rule.key is None else meant & (codes >> KEY_TO == rule.key)
