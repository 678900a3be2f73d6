"""Questions about whole images: every page, runs, counts, translations. The C walker, pagewalk, and the peers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import engine
from benchmarks.frame import Benchmark, Case, Job
from benchmarks.images import Image
from benchmarks.native import Limit, Rows, digest, opened
from benchmarks.peers import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.frame import Scale

PAGES = ("vaddr", "paddr", "flags", "kind", "depth")
RUNS = (*PAGES, "size")
ADDRESSES = 1 << 20


def limit(image: Image, folder: Path) -> Limit:
    """The C walker over an image."""
    return Limit(folder, opened(image, folder), image.root)


def sized(walker: Limit, *, sizes: bool) -> Rows:
    """Columns with room for every entry, which only what is written of takes memory."""
    return Rows.empty(sum(walker.counts().values()), sizes=sizes)


def columns_of(found: Any, *, runs: bool) -> list[int]:
    """The digest of a listing."""
    return digest(found, *(RUNS if runs else PAGES))


def by_limit(image: Image, folder: Path, *, runs: bool, keep: bool) -> Job:
    """A listing by the C walker, into new columns or always the same."""
    walker = limit(image, folder)
    given = partial(columns_of, runs=runs)
    kept = sized(walker, sizes=runs)
    entries, expected = len(kept["vaddr"]), given(walker.listing(kept))
    if keep:
        return Job(entries, partial(walker.listing, kept), given, expected)
    return Job(entries, lambda: walker.listing(Rows.empty(entries, sizes=runs)), given, expected)


def by_pagewalk(
    image: Image, folder: Path, *, runs: bool, keep: bool = False, parted: bool = False, options: dict[str, Any]
) -> Job:
    """The same listing by pagewalk."""
    expected_job = by_limit(image, folder, runs=runs, keep=True)
    found, entries = expected_job.expected, expected_job.items
    del expected_job
    tables = engine.tables(image, folder, parted=parted)
    engine.checked(lambda: engine.sweep.mappings(engine.small(), coalesce=runs))
    if keep:
        options = options | {"out": engine.sweep.Columns.allocate(entries, tables.format, coalesce=runs)}
    work = partial(engine.sweep.mappings, tables, coalesce=runs, **options)
    return Job(entries, work, partial(columns_of, runs=runs), found)


def counting(image: Image, folder: Path, *, ours: bool) -> Job:
    """How many entries there are of each kind and size."""
    walker = limit(image, folder)
    found = walker.counts()
    spans = {2: 1 << 30, 3: 1 << 21, 4: 1 << 12}
    expected = sorted((kind, spans[depth], entries) for (kind, depth), entries in found.items())
    total = sum(found.values())
    if not ours:
        given = lambda counts: sorted((kind, spans[depth], some) for (kind, depth), some in counts.items())  # noqa: E731
        return Job(total, walker.counts, given, expected)
    tables = engine.tables(image, folder)
    engine.checked(lambda: engine.sweep.count(engine.small()))
    return Job(total, lambda: engine.sweep.count(tables), lambda rows: sorted(rows.tolist()), expected)


def translating(image: Image, folder: Path, *, ours: bool, parted: bool = False) -> Job:
    """A million random addresses: one in two of a page, the others of anything in its gigabyte."""
    walker = limit(image, folder)
    rows = walker.listing(sized(walker, sizes=False))["vaddr"]
    random = np.random.default_rng(1)
    vaddrs = rows[random.integers(0, len(rows), ADDRESSES)] + random.integers(0, 4096, ADDRESSES, np.uint64)
    vaddrs[::2] ^= random.integers(0, 1 << 30, ADDRESSES // 2, np.uint64)
    del rows
    expected = answers(walker.translate(vaddrs))
    if not ours:
        return Job(ADDRESSES, lambda: walker.translate(vaddrs), answers, expected)
    tables = engine.tables(image, folder, parted=parted)
    engine.checked(lambda: engine.sweep.translate(engine.small(), [0] * 1000))  # enough for the kernel
    return Job(ADDRESSES, lambda: engine.sweep.translate(tables, vaddrs), answers, expected)


def answers(found: tuple[Any, Any]) -> list[int]:
    """The digest of translations."""
    return digest({"paddr": found[0], "mapped": found[1]}, "paddr", "mapped")


def engines(prepare: Callable[..., Job], prefix: str = "pagewalk") -> list[Case]:
    """One case for each engine and number of threads."""
    return [
        Case(f"{prefix}, {name}", partial(prepare, options=options), environment)
        for name, options, environment in engine.ENGINES
    ]


def one_thread(prepare: Callable[..., Job]) -> list[Case]:
    """One case for each engine, for what threads do not help."""
    return [
        Case(f"pagewalk, {name}", prepare, environment)
        for name, options, environment in engine.ENGINES
        if options["threads"] == 1
    ]


def listings(image: Image, scale: Scale) -> Benchmark:
    """Every page of an image, one row each, in columns that the case makes."""
    cases = [
        Case("C", partial(by_limit, image, runs=False, keep=False)),
        *engines(partial(by_pagewalk, image, runs=False)),
    ]
    if image.shape != "mixed":
        cases += [Case(name, partial(prepare, image, tables=scale.sample)) for name, prepare in PEERS]
    return Benchmark(f"Rows, new columns: {image.shape}", "entries", tuple(cases), (image,))


def refills(image: Image) -> Benchmark:
    """The same in columns that are there already, so that the kernel's zeroing of memory is not in it."""
    cases = (
        Case("C", partial(by_limit, image, runs=False, keep=True)),
        *engines(partial(by_pagewalk, image, runs=False, keep=True)),
    )
    return Benchmark(f"Rows, columns kept (out=): {image.shape}", "entries", cases, (image,))


def runs(image: Image) -> Benchmark:
    """The runs of an image."""
    cases = (
        Case("C", partial(by_limit, image, runs=True, keep=False)),
        *engines(partial(by_pagewalk, image, runs=True)),
    )
    return Benchmark(f"Runs: {image.shape}", "entries", cases, (image,))


def segments(image: Image) -> list[Benchmark]:
    """The same tables in one segment and in two, by each engine: two are held to what one takes."""
    found = []
    for name, options, environment in engine.ENGINES:
        if options["threads"] == 1:
            rows = partial(by_pagewalk, image, runs=False, keep=True, options=options)
            translations = partial(translating, image, ours=True)
            for what, items, prepare in (("rows", "entries", rows), ("translations", "addresses", translations)):
                cases = Case("one", prepare, environment), Case("two", partial(prepare, parted=True), environment)
                found.append(Benchmark(f"Segments, {what}, {name}: {image.shape}", items, cases, (image,)))
    return found


def benchmarks(scale: Scale) -> list[Benchmark]:
    """All of them."""
    images = dense, sparse, mixed = [Image(shape, scale.pages) for shape in ("dense", "sparse", "mixed")]
    found = [benchmark for image in images for benchmark in (listings(image, scale), refills(image))]
    found += [runs(dense), runs(mixed)]
    for image in (dense, sparse, mixed):
        cases = Case("C", partial(counting, image, ours=False)), *one_thread(partial(counting, image, ours=True))
        found.append(Benchmark(f"Counts: {image.shape}", "entries", cases, (image,)))
    cases = Case("C", partial(translating, mixed, ours=False)), *one_thread(partial(translating, mixed, ours=True))
    found.append(Benchmark("Translations: mixed", "addresses", cases, (mixed,)))
    found += segments(mixed)
    return found
