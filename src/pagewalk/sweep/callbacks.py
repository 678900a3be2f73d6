"""Users' own callbacks, compiled by Numba: one call a table, or one an entry inside of it, past Python."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import int64, njit, types, uint64

__all__ = ["per_entry", "table_driver"]


def _table_type(writes: bool) -> Any:
    """The type of a callback for tables."""
    row = types.Array(uint64, 1, "C", readonly=not writes)
    return types.FunctionType(int64(row, uint64))


@lru_cache(maxsize=2)
def _driver(writes: bool) -> Any:
    """The loop that calls a callback for each table, compiled once for all callbacks."""
    batch = types.Array(uint64, 2, "C", readonly=not writes)
    pair: Any = types.Tuple((int64, int64))  # type: ignore[no-untyped-call]
    signature = pair(batch, types.Array(uint64, 1, "C"), _table_type(writes))

    @njit(signature, nogil=True)
    def drive(entries, vaddrs, callback):  # type: ignore[no-untyped-def]
        for at in range(entries.shape[0]):
            result = callback(entries[at], vaddrs[at])
            if result != 0:
                return at, result
        return 0, 0

    return drive


def table_driver(callback: Any, writes: bool) -> Any:
    """See ``jit.table_driver``."""
    drive = _driver(writes)

    def driver(entries: Any, vaddrs: Any) -> tuple[int, int]:
        at, result = drive(entries, vaddrs, callback)
        return int(at), int(result)

    return driver


@lru_cache(maxsize=64)
def per_entry(callback: Any, page_size: int) -> Any:
    """See ``jit.per_entry``."""
    step = np.uint64(page_size)

    @njit(nogil=True)
    def table(entries, vaddr):  # type: ignore[no-untyped-def]
        for at in range(entries.shape[0]):
            result = callback(entries[at], vaddr + uint64(at) * step)
            if result != 0:
                return int64(result)
        return int64(0)

    return table
