"""Access rules: what registers, keys and a page's state make of the rights that page tables grant.

How it works. Rights are six bits, ANDed over the levels. Then come *rules*, in the order in which the hardware applies
them: each is one bit of a control register, on or off, that strips rights or adds some. What they leave are the rights
of a page, as listings show them. Last come *checks*, rules of the same shape, which ask for more than rights: for the
page's key, or for its accessed and dirty bits. They say whether an access goes through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import choice
from pagewalk.formats.flags import Flag, Rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ACCESSES", "NO_RULES", "USER", "AccessRule", "AccessRules", "Decision", "right_of", "switched"]

ACCESSES: Final = {
    "user-read": Rights.USER_READ,
    "user-write": Rights.USER_WRITE,
    "user-execute": Rights.USER_EXEC,
    "kernel-read": Rights.KERNEL_READ,
    "kernel-write": Rights.KERNEL_WRITE,
    "kernel-execute": Rights.KERNEL_EXEC,
}
"""Who does what, and the right that this takes."""
USER: Final = Rights.USER_READ | Rights.USER_WRITE | Rights.USER_EXEC
"""A page that grants one of these is the user's."""
_NOTHING: Final = Rights(0)
_NO_STATE: Final = Flag(0)


def right_of(access: str) -> Rights:
    """The right that an access takes.

    Raises:
        ValueError: There is no such access; the message names those that there are.
    """
    return ACCESSES[choice(access, "access", ACCESSES)]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One bit that strips rights, or adds some.

    Attributes:
        name: The bit's, as the manual has it.
        where: Rights of which a page must grant one, all levels together, for the rule to apply.
        strip, add: What is taken away from it then, and what is added.
        without: Rights of which it must grant none.
        key: The key of the pages that it applies to; None: all.
        lacking: State that a page must lack.
        register, bit: Where the bit is; without a register, the rule always holds.
        on: Whether the bit is set, where the rule holds.
        why: What the rule says.
        source: The manual's section.
    """

    name: str
    where: Rights
    strip: Rights = _NOTHING
    add: Rights = _NOTHING
    without: Rights = _NOTHING
    key: int | None = None
    lacking: Flag = _NO_STATE
    register: str = ""
    bit: int = 0
    on: bool = True
    why: str = ""
    source: str = ""

    def applied(self, rights: Any) -> Any:
        """The rights of a page to which it applies."""
        return rights & ~int(self.strip) | int(self.add)

    def applies(self, rights: int, key: int, flags: int) -> bool:
        """Whether it applies to a page of these rights, this key and this state."""
        meant = rights & self.where and not rights & self.without and self.key in (None, key)
        return bool(meant) and not flags & self.lacking


class Decision(NamedTuple):
    """What became of an access to a page.

    Attributes:
        allowed: Whether it goes through.
        rule: The rule that decides; None: the rights that the levels grant do.
    """

    allowed: bool
    rule: AccessRule | None


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules that hold, in the order in which the hardware applies them.

    Attributes:
        rules: Those of rights alone.
        checks: Those that ask for a page's key or state as well.
    """

    rules: tuple[AccessRule, ...] = ()
    checks: tuple[AccessRule, ...] = ()

    def allowed(self, rights: int) -> int:
        """The rights of a page to which every level grants ``rights``, whatever its key and its state."""
        for rule in self.rules:
            if rights & rule.where:
                rights = rule.applied(rights)
        return int(rights)

    def decide(self, right: Rights, rights: int, key: int, flags: int) -> Decision:
        """Whether an access goes through to a page, and which rule has the last word.

        Args:
            right: The right that the access takes.
            rights: Those that all levels grant.
            key, flags: The page's protection key and state.
        """
        last = None
        for rule in (*self.rules, *self.checks):
            if not rule.applies(rights, key, flags):
                continue
            before, rights = rights, rule.applied(rights)
            if (before ^ rights) & right:
                last = rule
        return Decision(bool(rights & right), last)


NO_RULES = AccessRules()


def switched(rules: Iterable[AccessRule], registers: Mapping[str, int]) -> tuple[AccessRule, ...]:
    """The rules that hold, by the registers that are known."""
    return tuple(
        rule
        for rule in rules
        if rule.register in registers and bool(registers[rule.register] >> rule.bit & 1) is rule.on
    )
