"""Files as sources: what they are, by their content, and what is inside of compressed ones."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagewalk.errors import ImageFormatError, UnsupportedError
from pagewalk.memory import MappedFiles, PiecewiseMemory, RawImage
from pagewalk.sources.detect import RAW, detect
from pagewalk.sources.detect import source_type as type_named
from pagewalk.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    from pagewalk.sources.detect import SourceType

__all__ = ["file_source", "files_source"]


def file_source(
    source: str | PathLike[str],
    *,
    base: int,
    parts: Iterable[tuple[int, int, int]] | None,
    source_type: str | None,
    writable: bool,
    progress: Callable[[int, int], None] | None,
) -> Source:
    """What is in a file or a directory: ``pagewalk.source`` has the arguments and the errors."""
    path, name = Path(source), str(source)
    asked = None if source_type is None else type_named(source_type)
    packed = RAW if asked is RAW else detect(path)
    if not packed.packing:
        return _opened(path, name, asked or packed, base, parts, writable)
    if writable:
        raise UnsupportedError(f"{path}: {packed.what} is not written: unpack it first")
    from pagewalk.memory.files.unpacked import unpacked  # its decoders take their time

    with unpacked(path, packed.packing, progress=progress) as inside, _named(inside, f"{path} unpacked"):
        if (found := detect(inside)).packing:
            raise UnsupportedError(f"{path}: {packed.what} with {found.what} in it: unpack it first")
        opened = _opened(inside, name, asked or found, base, parts, writable=False)
    if isinstance(opened.memory, RawImage | PiecewiseMemory | MappedFiles):
        opened.memory.path = path  # for messages: the path that it was opened by means nothing any more
    return replace(opened, packing=packed.packing)


def files_source(
    sources: Sequence[str | PathLike[str]], *, base: int, parts: object, source_type: str | None, writable: bool
) -> Source:
    """One source in several files: ``pagewalk.source`` has the arguments.

    Raises:
        ValueError: No files, or segments of several.
        UnsupportedError: Its type has one file each.
        OSError, ImageFormatError: As ``pagewalk.source``.
    """
    paths = [Path(path) for path in sources]
    if not paths or parts is not None:
        raise ValueError(f"segments are of one file, not of {len(paths)}" if paths else "a source of no files")
    type_ = detect(paths[0]) if source_type is None else type_named(source_type)
    if not type_.several:
        raise UnsupportedError(f"{paths[0]}: {type_.what} has one file: open each by itself")
    return _opened(paths, ", ".join(map(str, paths)), type_, base, None, writable)


def _opened(
    path: Path | list[Path],
    name: str,
    type_: SourceType,
    base: int,
    parts: Iterable[tuple[int, int, int]] | None,
    writable: bool,
) -> Source:
    """What is in files of a type that is known; segments make it a raw image, whatever it is."""
    if type_ is RAW or parts is not None:
        return Source(name, RAW.name, RAW.open(path, base=base, segments=parts, writable=writable))
    if base and not type_.based:
        why = f"{type_.what} says itself where its memory lies: a base of {base:#x} contradicts it"
        raise ValueError(f"{name}: {why}: is it raw memory that begins like one (source type raw)?")
    if writable and type_.fixed:
        raise UnsupportedError(f"{name}: {type_.what} is not written: write to a raw image or an ELF core")
    options = ({"writable": True} if writable else {}) | ({"base": base} if base else {})
    memory: Any = type_.open(path, **options)
    return Source.of(name, type_.name, memory)


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Have messages say where the user finds a file whose own path means nothing."""
    try:
        yield
    except (ImageFormatError, UnsupportedError) as error:
        raise type(error)(str(error).replace(str(path), name)) from None
