"""Access rules: what control registers make of the rights that page tables grant."""

from __future__ import annotations

from dataclasses import dataclass

from pagewalk.formats.flags import Rights

__all__ = ["NO_RULES", "AccessRule", "AccessRules"]


_NOTHING = Rights(0)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One bit of a control register that strips rights, or adds some.

    Attributes:
        name: The bit's, as the manual has it.
        where: Rights of which a page must grant one, all levels together, for the rule to apply.
        strip, add: What is taken away from it then, and what is added.
    """

    name: str
    where: Rights
    strip: Rights = _NOTHING
    add: Rights = _NOTHING


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules that are switched on, in the order in which the hardware applies them."""

    rules: tuple[AccessRule, ...] = ()

    def allowed(self, rights: int) -> int:
        """What may be done to a page to which every level grants ``rights``."""
        for rule in self.rules:
            if rights & rule.where:
                rights = rights & ~rule.strip | rule.add
        return int(rights)


NO_RULES = AccessRules()
