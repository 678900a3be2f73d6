"""Small images of memory, made word by word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 16 * 4096


def build(path: Path, words: dict[int, int], word: int = 8) -> Path:
    """An image with these words at these addresses, and nothing else."""
    data = bytearray(SIZE)
    for at, value in words.items():
        data[at : at + word] = value.to_bytes(word, "little")
    path.write_bytes(data)
    return path


C_BIT = 1 << 51
_TABLE, _PAGE = 0x67, 0x8000_0000_0000_0067
ENCRYPTED = {
    **{at << 12: at + 1 << 12 | C_BIT | _TABLE for at in (1, 2, 3)},
    0x4000: 0x6000 | C_BIT | _PAGE,
    0x4008: 0x7000 | _PAGE,
    0x4018: (~0x5000 & 0x7_FFFF_FFFF_F000) | C_BIT | 0x160,
}
"""x86-64's tables from 0x1000 on, all encrypted: a private page, a shared one, none, and one of PROT_NONE."""
