"""The same listings over ever larger images."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.frame import Benchmark, Case
from benchmarks.images import Image
from benchmarks.listing import by_limit, by_pagewalk

if TYPE_CHECKING:
    from benchmarks.frame import Scale

NUMPY = {"PAGEWALK_ENGINE": "numpy"}


def benchmarks(scale: Scale) -> list[Benchmark]:
    """One for each size."""
    return [_of_size(Image("dense", slots)) for slots in scale.growth]


def _of_size(image: Image) -> Benchmark:
    """Rows and runs of one image."""
    one = {"threads": 1}
    cases = (
        Case("C, rows", partial(by_limit, image, runs=False, keep=False)),
        Case("pagewalk, NumPy, rows", partial(by_pagewalk, image, runs=False, options=one), NUMPY),
        Case("pagewalk, NumPy, runs", partial(by_pagewalk, image, runs=True, options=one), NUMPY),
    )
    return Benchmark(f"Growth: {image.slots >> 10:,} Ki pages", "entries", cases, (image,))
