"""What a guest's kernel cannot plant, and why. Everything else it must."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["absent"]


class Absence(NamedTuple):
    """Plants that some guests have not.

    Attributes:
        plants: Their names, as in ``init/``.
        machines: A pattern of the guests' names.
        why: The reason.
    """

    plants: tuple[str, ...]
    machines: str
    why: str


OLD: Final = r"x86_64-(5\.10|6\.1-pti)|i386-.*"
SMALL: Final = "i386-.*|x86_64-(7.3-la57|6.*|5.*)|arm64-4k-lpa2|arm64-16k|riscv64-sv(39|57)"
ABSENCES: Final = (
    Absence(("guard", "guard_alone", "guard_file"), rf"{OLD}|x86_64-6\.12", "guard regions came with Linux 6.13"),
    Absence(("uffd_marker",), r"x86_64-5\.10", "shared memory can be write-protected from Linux 5.19 on"),
    Absence(("uffd_wp", "uffd_marker"), "i386-.*", "32-bit x86 has no bit for it"),
    Absence(("uffd_wp", "uffd_marker"), "riscv64-.*", "the bit for it is Svrsw60t59b's, which QEMU 7.2 has not"),
    Absence(("uffd_rwp",), r"i386-.*|x86_64-[56].*|arm64-.*|riscv64-.*", "tracking of all access came with Linux 7.3"),
    Absence(("hwpoison",), r"x86_64-(5\.10|6\.1-pti)|riscv64-.*", "built without MEMORY_FAILURE"),
    Absence(("high",), r"i386-.*|x86_64-(7\.3|6.*|5.*)|arm64-(4k|16k)|riscv64-sv(39|48)", "no address is that high"),
    Absence(
        ("hugetlb_64k",),
        "i386-.*|x86_64-.*|arm64-16k.*|riscv64-sv(39|57)",
        "no page of that size: Svnapot, or 4K's contiguous bit",
    ),
    Absence(("hugetlb_32768k",), "i386-.*|x86_64-.*|riscv64-.*", "no page of that size"),
    Absence(("hugetlb_1048576k",), SMALL, "too little memory for one"),
    Absence(("thp_64k",), OLD, "folios of several sizes came with Linux 6.8"),
    Absence(("thp_2048k",), "i386-.*|x86_64-.*|arm64-4k.*|riscv64-.*", "that is the size of a block"),
    Absence(("hugetlb_4096k",), "(?!i386-6.1$).*", "no page of that size: two levels have it alone"),
    Absence(("hugetlb_2048k",), "i386-6.1", "no page of that size: a block has 4 MiB"),
    Absence(("thp_4096k",), "(?!arm64-16k).*", "a block is smaller"),
    Absence(("thp_32768k", "thp_1048576k"), ".*", "a block is as large, or smaller"),
)


def absent(machine: str) -> dict[str, str]:
    """What a guest cannot plant, and why."""
    return {plant: one.why for one in ABSENCES if re.fullmatch(one.machines, machine) for plant in one.plants}
