"""In words and as plain data: whether an access goes through, and what the tables above a page take away from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pagewalk.formats import Rights
from pagewalk.formats.access import ACCESSES
from pagewalk.tables import withheld

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.formats import AccessRule
    from pagewalk.tables import BitName, Entry, Verdict, Withheld

__all__ = ["inherited", "inherited_json", "inherited_text", "verdict_json", "verdict_text"]

_NAMES: Final = {right: name for name, right in ACCESSES.items()}


def verdict_text(verdict: Verdict, *, told: bool) -> str:
    """A line: what became of an access, and by what.

    Args:
        verdict: What became of it.
        told: The entries are those of the memory; of entries that were made, bits and slots mean nothing.
    """
    what = "allowed" if verdict.allowed else "refused"
    if verdict.rule is not None:
        return f"{verdict.access}: {what}{_rule(verdict.rule)}"
    if not verdict.by:
        return f"{verdict.access}: {what}"
    by = "; ".join(f"{_where(one)}: {_bits(one.bits)}" for one in verdict.by) if told else "the page's rights"
    return f"{verdict.access}: {what} by {by}"


def verdict_json(verdict: Verdict, *, told: bool) -> dict[str, Any]:
    """The same as plain data."""
    causes = [_rule_json(verdict.rule)] if verdict.rule is not None else []
    if told:
        causes += [bit for one in verdict.by for bit in _bits_json(one)]
    return {"asked": verdict.access, "allowed": verdict.allowed, "by": causes}


def inherited(entries: Sequence[Entry]) -> tuple[Withheld, ...]:
    """What each table on the way takes away of what the page itself grants, root first."""
    *above, page = entries
    granted = Rights(page.level.decode(page.value).rights)
    return tuple(one for entry in above if (one := withheld(entry, granted)))


def inherited_text(taken: Sequence[Withheld]) -> list[str]:
    """A line a table that takes something away."""
    return [f"{_where(one)} takes away {' '.join(_rights(one.rights))}: {_bits(one.bits)}" for one in taken]


def inherited_json(taken: Sequence[Withheld]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [{**_level(one.entry), "takes": _rights(one.rights), "by": _bits_json(one)} for one in taken]


def _rights(rights: Rights) -> list[str]:
    """Rights as accesses are called."""
    return [_NAMES[right] for right in rights]


def _where(one: Withheld) -> str:
    """Which entry it is."""
    level = one.entry.level
    return f"{level.manual} {level.real_name} [{level.slot(one.entry.paddr)}]"


def _bits(bits: Sequence[BitName]) -> str:
    """Bits and how they are: in this, they stand in the way."""
    return ", ".join(f"{bit.name} (bit {bit.place}) is {_state(bit.is_set)}" for bit in bits)


def _state(is_set: bool) -> str:
    """How a bit is."""
    return "set" if is_set else "clear"


def _rule(rule: AccessRule) -> str:
    """A rule: which bit of which register makes it hold, and what it says."""
    where = f" by {rule.register}.{rule.name} (bit {rule.bit}), which is {_state(rule.on)}" if rule.register else ""
    return f"{where}: {rule.why} ({rule.source})"


def _rule_json(rule: AccessRule) -> dict[str, Any]:
    """The same as plain data; without a register, it always holds."""
    bit = {"bit": rule.name, "place": rule.bit, "set": rule.on} if rule.register else {}
    return {"register": rule.register or None, **bit, "why": rule.why, "source": rule.source}


def _bits_json(one: Withheld) -> list[dict[str, Any]]:
    """The bits of an entry."""
    return [{**_level(one.entry), "bit": bit.name, "place": bit.place, "set": bit.is_set} for bit in one.bits]


def _level(entry: Entry) -> dict[str, str]:
    """The level of an entry, as the entries have it."""
    return {"table": entry.level.manual, "level": entry.level.real_name}
