"""Layouts by chance: regions of every size at the ends and inside of windows, and what each address should be."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from pagewalk.editing import Layout, Region
from pagewalk.errors import UnsupportedError
from pagewalk.formats import Leaf, find_format, made, rights_of, windows_of

if TYPE_CHECKING:
    from random import Random

    from pagewalk.formats import PagingFormat

ROOTS = ("", "one", "two", "three")


@cache
def rights_in(name: str) -> tuple[str, ...]:
    """The rights that pages of a format can have."""
    texts = ["".join(places) for places in product("r-", "w-", "xX-", "u-")]
    return tuple(text for text in texts if _sayable(find_format(name, "none"), text))


def _sayable(form: PagingFormat, text: str) -> bool:
    try:
        made(form.last, 0, Leaf(rights_of(text)))
    except (UnsupportedError, ValueError):
        return False
    return True


class Drawing(NamedTuple):
    """What layouts are drawn of.

    Attributes:
        name: The format.
        bits: The width of its windows, if it is chosen.
        frames: Where regions may lead.
        largest: The largest page; None: any.
        groups: Whether groups of entries are used.
        roots: How many roots there are, at most.
    """

    name: str
    bits: int | None = None
    frames: tuple[int, int] | None = None
    largest: int | None = None
    groups: bool = True
    roots: int = 1

    @property
    def form(self) -> PagingFormat:
        return find_format(self.name, "none")

    def layout(self, rng: Random, **more) -> Layout:
        """A layout."""
        regions = self._regions(rng)
        base = self.form.levels[0].table_bytes * 16
        given = {"format": self.form, "base": -(-base // (1 << 20)) << 20, "bits": self.bits, "groups": self.groups}
        return Layout(**{**given, "largest": self.largest, "regions": regions, **more})

    def _regions(self, rng: Random) -> list[Region]:
        count = rng.randint(1, self.roots)
        names = ROOTS[1 : count + 1] if count > 1 else ()
        found: list[Region] = []
        for _ in range(rng.randint(1, 12)):
            window = rng.choice(windows_of(self.form, self.bits))
            sizes = [size for size in self.form.page_sizes if size * 2 <= window.end - window.start]
            vaddr = self._anchor(rng, window, rng.choice(sizes))
            for _ in range(rng.randint(1, 4)):
                size = rng.choice((1, 1, 2, 3, 15, 16, 17, 33)) * self.form.page_size
                size += rng.choice((0, 0, 1, 2)) * rng.choice(sizes)
                region = self._region(rng, vaddr, size, f"{len(found)}", (None, *names))
                if vaddr + size > window.end or any(_collides(region, other) for other in found):
                    break
                found.append(region)
                vaddr += size + rng.choice((0, 0, 1, 3)) * self.form.page_size
        return found

    def _anchor(self, rng: Random, window, size: int) -> int:
        place = rng.choice(("start", "end", "inside", "inside"))
        if place == "start":
            return window.start
        if place == "end":
            return window.end - size
        at = rng.randrange((window.end - window.start) // size) * size
        return window.start + at - rng.choice((0, 0, self.form.page_size)) * (at > 0)

    def _region(self, rng: Random, vaddr: int, size: int, name: str, roots: tuple[str | None, ...]) -> Region:
        if rng.random() < 0.1:
            return Region(name, vaddr, size, "----", root=rng.choice(roots))
        low, high = self.frames or (0, 1 << (32 if self.form.word.size == 4 else self.form.physical_bits))
        page = self.form.page_size
        span = rng.choice([span for span in self.form.page_sizes if span <= (high - low) // 4] or [page])
        size = min(size, 64 * span, (high - low) // 2 // page * page)  # of pages that are not aligned there are many
        paddr = low + rng.randrange((high - low) // 4 // span + 1) * span + vaddr % span
        return Region(name, vaddr, size, rng.choice(rights_in(self.name)), paddr=paddr, root=rng.choice(roots))


def _collides(one: Region, other: Region) -> bool:
    """Whether two regions cannot be in one layout."""
    apart = one.root is not None and other.root is not None and one.root != other.root
    return not apart and one.vaddr < other.vaddr + other.size and other.vaddr < one.vaddr + one.size


def places(layout: Layout, region: Region) -> list[int]:
    """Addresses to ask of a region: its ends, their neighbours, and where large pages could begin."""
    page, end = layout.format.page_size, region.vaddr + region.size
    found = {region.vaddr, region.vaddr + 8, end - 1, region.vaddr + region.size // 2 // page * page}
    for size in layout.format.page_sizes:
        edge = -(-region.vaddr // size) * size
        found |= {at for at in (edge, edge - 1, end // size * size) if region.vaddr <= at < end}
    return sorted(found)


def expected(layout: Layout, root: str, vaddr: int) -> tuple[int, str] | None:
    """Where an address of a root leads, and its rights; None: nowhere. The slow and obvious way."""
    for region in layout.regions:
        if region.root in (None, root) and region.vaddr <= vaddr < region.vaddr + region.size:
            paddr = region.vaddr if region.paddr is None else region.paddr
            return None if region.rights == "----" else (paddr + vaddr - region.vaddr, region.rights)
    return None
