"""A process to be captured: ``python subject.py SHAPE BYTES``, with a quarter of so many bytes touched.

Writes one JSON line, ``[start, end]`` of the memory; ends with its standard input. Knows nothing of pagewalk.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import random
import sys

PAGE = 4096
HUGEPAGE, NOHUGEPAGE = 14, 15


def touched(shape: str, pages: int) -> list[int]:
    """Which pages are touched."""
    if shape in ("scattered", "many VMAs"):
        return [*range(0, pages, 4)]
    if shape == "random":
        return sorted(random.Random(1).sample(range(pages), pages // 4))
    return [*range(pages // 4)]


def main() -> None:
    shape, size = sys.argv[1], int(sys.argv[2])
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(HUGEPAGE if shape == "huge pages" else NOHUGEPAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for at in touched(shape, size // PAGE):
        memory[at * PAGE] = 1
    if shape == "many VMAs":
        libc = ctypes.CDLL(None)
        for at in range(0, size, 4 * PAGE):
            libc.mprotect(ctypes.c_void_p(start + at), ctypes.c_size_t(2 * PAGE), mmap.PROT_READ)
    print(json.dumps([start, start + size]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
