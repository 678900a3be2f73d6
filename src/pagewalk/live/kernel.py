"""The running kernel, as far as what it tells depends on it."""

from __future__ import annotations

import gzip
import platform
import re
from functools import cache
from pathlib import Path
from typing import Final

from pagewalk.formats.os.linux import LINUX, Linux, SwapTypes

__all__ = ["PAGE", "running_kernel"]

PAGE: Final = 4096
"""Bytes in a page of the kernels that can be captured (``procfs.check_page_size``)."""


@cache
def running_kernel() -> Linux:
    """The running kernel: its version, and its special swap types, if its configuration can be read."""
    release = platform.release()
    for path in ("/proc/config.gz", f"/boot/config-{release}"):
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue
        return _from_config(gzip.decompress(data) if path.endswith(".gz") else data, release)
    return LINUX


def _from_config(config: bytes, release: str) -> Linux:
    """A kernel with this configuration. Its types are counted down from the marker's (``include/linux/swap.h``)."""
    major, minor = map(int, re.findall(r"\d+", release)[:2])
    device = 0
    if b"\nCONFIG_DEVICE_PRIVATE=y" in config:
        device = 3 if (major, minor) >= (6, 15) else 4
    marker = SwapTypes().marker
    first = marker - device
    types = SwapTypes(first - 4, (first - 3, first - 2, first - 1), tuple(range(first, marker)), marker)
    return Linux((major, minor), types)
