"""Valid files made hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

__all__ = ["mutated"]

NUMBERS: Final = (0, 1, 0x7F, 0xFFFF, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1)
"""Counts, sizes and addresses that something may be computed from."""


def mutated(seed: bytes, rng: random.Random, header: int) -> bytes:
    """A seed after one to eight changes; those of every other keep the header.

    Args:
        seed: A valid file.
        rng: Whose numbers decide.
        header: Bytes that belong to it.
    """
    data = bytearray(seed)
    first = header if rng.random() < 0.6 else 0
    for _ in range(rng.randint(1, 8)):
        if len(data) <= first + 8:
            break
        rng.choice(_CHANGES)(data, rng, first)
    return bytes(data)


def _place(data: bytearray, rng: random.Random, first: int) -> int:
    """Where to change something: mostly near the front, where files say what they hold."""
    end = len(data) if rng.random() < 0.2 else min(len(data), first + 2048)
    return rng.randrange(first, max(first + 1, end))


def _flip(data: bytearray, rng: random.Random, first: int) -> None:
    data[_place(data, rng, first)] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random, first: int) -> None:
    data[_place(data, rng, first)] = rng.randrange(256)


def _number(data: bytearray, rng: random.Random, first: int) -> None:
    """A number of 2, 4 or 8 bytes, where one may stand: a huge one, or one near what is there."""
    size = rng.choice((2, 4, 8))
    at = _place(data, rng, first) // size * size
    was = int.from_bytes(data[at : at + size], "little")
    new = rng.choice(
        (rng.choice(NUMBERS), was + rng.randint(-16, 16), len(data) + rng.randint(-9, 9), rng.getrandbits(64))
    )
    if first <= at <= len(data) - size:
        data[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "little")


def _truncate(data: bytearray, rng: random.Random, first: int) -> None:
    del data[_place(data, rng, first) :]


def _copy(data: bytearray, rng: random.Random, first: int) -> None:
    """Bytes from elsewhere: a header again, a loop."""
    size = rng.choice((4, 8, 16, 32, 56, 64))
    start, at = _place(data, rng, 0), _place(data, rng, first)
    part = data[start : start + size]
    data[at : at + len(part)] = part


def _insert(data: bytearray, rng: random.Random, first: int) -> None:
    at = _place(data, rng, first)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 24)))


def _remove(data: bytearray, rng: random.Random, first: int) -> None:
    at = _place(data, rng, first)
    del data[at : at + rng.choice((1, 2, 4, 8, 24))]


_CHANGES: Final = (_flip, _byte, _number, _number, _number, _truncate, _copy, _insert, _remove)
