"""What was built, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagewalk.doors import printable
from pagewalk.report.words import columns, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.editing import Built, Region

__all__ = ["built_json", "built_text"]


def built_json(built: Built, *, checked: bool) -> dict[str, Any]:
    """What was built, as plain data."""
    roots = [
        {"name": name, "registers": {register: f"{value:#x}" for register, value in built.registers(name).items()}}
        for name in built.roots
    ]
    head = {"format": built.layout.format.name, "base": f"{built.base:#x}", "size": built.size}
    return {**head, "tables": built.counts, "roots": roots, "regions": len(built.layout.regions), "checked": checked}


def built_text(built: Built, *, checked: int | None) -> Iterator[str]:
    """What was built: the tables, what to load for each root, and the regions.

    Args:
        built: It.
        checked: How many bytes were found mapped as the layout says; None: nobody looked.
    """
    counts = ", ".join(f"{count} {name}" for name, count in built.counts.items() if count)
    end = built.base + built.size
    yield f"{built.layout.format.name}: tables in [{built.base:#x}, {end:#x}), {size_text(built.size)}: {counts}\n"
    for root in built.roots:
        values = " ".join(f"{name}={value:#x}" for name, value in built.registers(root).items())
        yield f"{f'root {printable(root)}' if root else 'load'}: {values}\n"
    rows: list[tuple[str, ...]] = [("ADDRESSES", "SIZE", "FRAME", "RIGHTS", "NAME")]
    order = sorted(built.layout.regions, key=lambda region: (region.vaddr, region.root or ""))
    rows += [_row(region) for region in order]
    yield "\n".join(columns(rows, frozenset({1}))) + "\n"
    if checked is not None:
        yield f"checked: {size_text(checked)} are mapped as the layout says, and nothing else is\n"


def _row(region: Region) -> tuple[str, ...]:
    """A region."""
    paddr = region.vaddr if region.paddr is None else region.paddr
    frame = "-" if region.rights == "----" else f"{'=' if region.repeat else ''}{paddr:#x}"
    name = printable(region.name) + ("" if region.root is None else f" ({printable(region.root)})")
    span = f"{region.vaddr:#014x}-{region.vaddr + region.size:#014x}"
    return span, size_text(region.size), frame, region.rights, name
