"""Which engine sweeps: NumPy, or the same kernels compiled by Numba (the extra ``jit``).

Numba costs more than half a second at start, so it is used where it is imported already or where ``PAGEWALK_ENGINE``
asks for it, never unasked. What the kernels are not made for (several address fields, tables that do not lie in one
segment, wrong entries, filters by frame) is left to NumPy, which goes on where they end.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VARIABLE", "kernels", "per_entry", "table_driver"]

VARIABLE: Final = "PAGEWALK_ENGINE"
_ENGINES: Final = ("numpy", "numba")


def kernels() -> Any:
    """The compiled kernels, or None where NumPy sweeps.

    Raises:
        UnsupportedError: ``PAGEWALK_ENGINE`` names no engine, or one that is not installed.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked and asked not in _ENGINES:
        raise UnsupportedError(f"{VARIABLE}={asked}: there is no such engine, but {' and '.join(_ENGINES)}")
    if asked == "numba" or (not asked and "numba" in sys.modules):
        return _compiled("kernels")
    return None


@lru_cache(maxsize=2)
def _compiled(name: str) -> Any:
    """A module of what Numba compiles."""
    try:
        return importlib.import_module(f"pagewalk.sweep.{name}")
    except ImportError as error:
        raise UnsupportedError(f"the engine numba is not installed ({error}): pip install 'pagewalk[jit]'") from None


def is_compiled(function: Any) -> bool:
    """Whether a function was compiled by Numba."""
    return "numba" in sys.modules and hasattr(function, "py_func") and hasattr(function, "get_call_template")


def table_driver(callback: Any, *, writes: bool = False) -> Callable[[Any, Any], tuple[int, int]] | None:
    """What calls a compiled callback for each table of a batch, or None if the callback is plain Python.

    Returns:
        ``driver(entries, vaddrs)``: the number of the table that ended it, and with what.
    """
    return _compiled("callbacks").table_driver(callback, writes) if is_compiled(callback) else None


def per_entry(callback: Any, page_size: int = 4096) -> Any:
    """A compiled callback for one entry, ``(entry, addr) -> int``, as one for a table: what it returns ends the sweep.

    Args:
        callback: Compiled by ``numba.njit``; uint64 arguments.
        page_size: Bytes that an entry of the last level covers.

    Raises:
        TypeError: It is not compiled.
    """
    if not is_compiled(callback):
        raise TypeError(f"{callback!r} is not compiled: decorate it with numba.njit")
    return _compiled("callbacks").per_entry(callback, page_size)
