"""The running kernel, as far as what it tells depends on it."""

from __future__ import annotations

import gzip
import platform
import re
from functools import cache
from pathlib import Path
from typing import Final

from pagewalk.formats import LINUX, Linux

__all__ = ["PAGE", "kernel_of", "running_kernel"]

PAGE: Final = 4096
"""Bytes in a page of the kernels that can be captured (``procfs.check_page_size``)."""


@cache
def running_kernel() -> Linux:
    """The running kernel, as far as its configuration can be read; else the newest."""
    release = platform.release()
    for path in ("/proc/config.gz", f"/boot/config-{release}"):
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue
        return kernel_of(gzip.decompress(data) if path.endswith(".gz") else data, release)
    return LINUX


def kernel_of(config: bytes, release: str) -> Linux:
    """A kernel, by its configuration and release."""
    major, minor = map(int, re.findall(r"\d+", release)[:2])
    return Linux.running((major, minor), device_private=b"\nCONFIG_DEVICE_PRIVATE=y" in config)
