"""When a file's pages come as large folios by themselves: by the machine's setting, or its mount's.

How it works. A fault gets a whole block or one page; an area that is advised against huge pages, and a block that has a
page already, get one page. A write gets the largest folio that has no page yet: beyond the file's end too, unless that
is to be kept to. (``shmem_allowable_huge_orders``, Linux 6.18.)
"""

from __future__ import annotations

from pagewalk.space import VmaFlags

__all__ = ["sizes_for_write", "wants_block"]


def _end(index: int, size: int) -> int:
    """Where aligned pages around one end."""
    return index - index % size + size


def wants_block(policy: str, flags: VmaFlags, index: int, block: int, pages: int) -> bool:
    """Whether a fault brings in a whole block.

    Args:
        policy: What holds for the file.
        flags: Of the area.
        index: The page.
        block: Pages in a block.
        pages: Those of the file.
    """
    if VmaFlags.NOHUGEPAGE in flags or policy in ("never", "deny"):
        return False
    if policy in ("always", "force") or VmaFlags.HUGEPAGE in flags:
        return True
    return policy == "within_size" and _end(index, block) <= pages


def sizes_for_write(policy: str, index: int, block: int, pages: int) -> list[int]:
    """In how many pages a write may bring in the one it has come to, the most first.

    Args:
        policy, index, block: As above.
        pages: Those of the file, once it is written.
    """
    sizes = [1 << order for order in range(block.bit_length() - 1, 0, -1)]
    if policy == "force":
        return sizes[:1]
    if policy == "always":
        return sizes
    return [size for size in sizes if policy == "within_size" and _end(index, size) <= pages]
