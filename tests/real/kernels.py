"""Kernels: in which suite of Debian, in which package, and what of it is needed.

A pattern names packages, never an exact version: old ones leave the mirror. The newest that matches is taken.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "ARM64",
    "ARM64_16K",
    "I386_6_1",
    "I386_6_1_PAE",
    "RISCV64",
    "X86_64_5_10",
    "X86_64_6_1",
    "X86_64_6_12",
    "X86_64_6_12_TOLD",
    "X86_64_6_18",
    "X86_64_7_3",
    "Kernel",
]

SWAP: Final = (
    "zlib_deflate",
    "842_compress",
    "842_decompress",
    "lz4hc_compress",
    "lz4_compress",
    "lzo_compress",
    "lzo-rle",
    "zsmalloc",
    "zram",
)
"""Modules for swap in compressed memory. A kernel may have some of them built in, or not need them."""


OTHERS: Final = ("qemu_fw_cfg",)
"""Modules for the rest: this one gives VMCOREINFO to QEMU. Folders that were cached before it was picked lack it."""


class Kernel(NamedTuple):
    """Where a kernel comes from.

    Attributes:
        suite: Debian's suite.
        architecture: Debian's name for it.
        image: A pattern of the package that holds it.
        modules: A pattern of the package that holds its modules, if that is another.
    """

    suite: str
    architecture: str
    image: str
    modules: str = ""


# Until 6.18 a package holds a kernel and its modules; from then on there is one for each.
X86_64_5_10 = Kernel("bullseye", "amd64", r"linux-image-5\.10\..*-cloud-amd64-unsigned")
X86_64_6_1 = Kernel("bookworm", "amd64", r"linux-image-6\.1\..*-cloud-amd64-unsigned")
X86_64_6_12 = Kernel("trixie", "amd64", r"linux-image-6\.12\..*-cloud-amd64-unsigned")
X86_64_6_12_TOLD = X86_64_6_12._replace(modules=X86_64_6_12.image)  # a folder of its own in the cache, with OTHERS
X86_64_6_18 = Kernel("trixie-backports", "amd64", r"linux-image-6\.18\..*-cloud-amd64")
X86_64_7_3 = Kernel(
    "trixie-backports", "amd64", r"linux-binary-7\.[3-9]\..*-cloud-amd64", r"linux-modules-7\.[3-9]\..*-cloud-amd64"
)
I386_6_1 = Kernel("bookworm", "i386", r"linux-image-6\.1\.0-[0-9]+-686-unsigned")
I386_6_1_PAE = Kernel("bookworm", "i386", r"linux-image-6\.1\.0-[0-9]+-686-pae-unsigned")
ARM64 = Kernel("forky", "arm64", r"linux-binary-7\..*-cloud-arm64", r"linux-modules-7\..*-cloud-arm64")
ARM64_16K = Kernel("forky", "arm64", r"linux-binary-7\..*-arm64-16k", r"linux-modules-7\..*-arm64-16k")
RISCV64 = Kernel("forky", "riscv64", r"linux-binary-7\..*-riscv64", r"linux-modules-7\..*-riscv64")
