"""The kernel's numbers as expressions that can be pasted: ``PROT_READ | PROT_WRITE``."""

from __future__ import annotations

from pagewalk import abi
from pagewalk.abi import limits

__all__ = ["PAGE", "advice_text", "flags_text"]

PAGE = 4096

_SINGLE = (
    name for name in (*abi.__all__, *limits.__all__) if not name.startswith(("MAP_HUGE_", "MAP_SHARED_", "MAP_TYPE"))
)
_NAMES = dict(
    sorted(
        ((name, int(getattr(abi if hasattr(abi, name) else limits, name))) for name in _SINGLE),
        key=lambda item: item[1],
    )
)


def flags_text(prefix: str, value: int) -> str:
    """A set of bits whose names begin with ``prefix``, as an expression."""
    named = [(name, bit) for name, bit in _NAMES.items() if name.startswith(prefix) and bit & value]
    rest = value & ~sum(bit for _, bit in named)
    text = " | ".join([name for name, _ in named] + [hex(rest)] * bool(rest))
    return text or ("PROT_NONE" if prefix == "PROT_" else "0")


def advice_text(prefix: str, value: int) -> str:
    """One of the numbers whose names begin with ``prefix``."""
    return next((name for name, number in _NAMES.items() if name.startswith(prefix) and number == value), str(value))
