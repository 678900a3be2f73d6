"""What a source says of itself, as text and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import shortened
from pagewalk.errors import PagewalkError
from pagewalk.memory import extents_of
from pagewalk.report.words import hexed, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pagewalk.sources import Source

__all__ = ["source_json", "source_text"]

_RUNS: Final = 8
"""Runs of memory that are told one by one."""
_MAIN: Final = frozenset(
    f"NUMBER({name})" for name in ("phys_base", "VA_BITS", "PHYS_OFFSET", "kimage_voffset", "sme_mask")
) | {"SYMBOL(swapper_pg_dir)"}
"""Of the keys that name a symbol or a size, those that say where tables are; the others are many."""
_WIDTH: Final = 100


def source_json(source: Source, what: str) -> dict[str, Any]:
    """A source as plain data.

    Args:
        source: The source.
        what: What its type is called.
    """
    runs = _runs(source)
    return {
        "source": source.name,
        "type": source.type,
        "what": what,
        "packing": source.packing or None,
        "size": sum(end - start for start, end in runs),
        "memory": [{"paddr": hexed(start), "size": end - start} for start, end in runs],
        "cpus": [{name: hexed(value) for name, value in cpu.items()} for cpu in source.cpus],
        "format": _format(source)[0],
        "vmcoreinfo": dict(source.vmcoreinfo),
        "missing": list(source.missing),
        "notes": list(source.notes),
    }


def source_text(source: Source, what: str) -> Iterator[str]:
    """A source as lines."""
    yield _line("type", f"{source.type}: {source.packing} of {what}" if source.packing else f"{source.type}: {what}")
    runs = _runs(source)
    total = size_text(sum(end - start for start, end in runs))
    yield _line("memory", f"{total} in {len(runs):,} {'run' if len(runs) == 1 else 'runs'}")
    for start, end in runs[:_RUNS]:
        yield _line("", f"{start:#x}-{end:#x}  {size_text(end - start)}")
    if (left := len(runs) - _RUNS) > 0:
        yield _line("", f"and {left:,} more up to {runs[-1][1]:#x}")
    for at, cpu in enumerate(source.cpus):
        yield _line(f"cpu {at}", " ".join(f"{name}={value:#x}" for name, value in cpu.items()))
    form, why = _format(source)
    if form or why:
        yield _line("format", form or f"not known: {why}")
    yield from _vmcoreinfo(source.vmcoreinfo)
    for sentence in source.missing:
        yield _line("missing", sentence)
    for sentence in source.notes:
        yield _line("note", sentence)


def _line(heading: str, text: str) -> str:
    return f"{heading:<12}{shortened(text, 1000)}\n"


def _vmcoreinfo(words: Mapping[str, str]) -> Iterator[str]:
    """The keys that people ask for."""
    if words:
        yield _line("vmcoreinfo", f"{len(words)} keys")
    for key, value in words.items():
        if "(" not in key or key in _MAIN:
            yield _line("", f"{shortened(key)}={shortened(value, _WIDTH)}")


def _runs(source: Source) -> list[list[int]]:
    """Where it has memory."""
    runs: list[list[int]] = extents_of(source.memory).tolist()
    return runs


def _format(source: Source) -> tuple[str | None, str]:
    """The format that its registers say, or why none; neither, where it has none."""
    if not source.cpus:
        return None, ""
    try:
        return source.tables().format.name, ""
    except PagewalkError as error:
        return None, str(error)
