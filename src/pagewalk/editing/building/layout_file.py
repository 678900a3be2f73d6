"""A layout out of a TOML file, or of a mapping as one has it: every key known, each error in its place.

The numbers are TOML's, or text as on the command line: ``0x1000``, ``"64K"``, ``"2M"``.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import integer, printable, shown
from pagewalk.editing.building.outline import Region, Reserve
from pagewalk.errors import LayoutError, UnsupportedError
from pagewalk.formats import find_format
from pagewalk.numbers import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["of_mapping", "read"]

_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*(?P<name>region|reserve)[ \t]*\]\]", re.MULTILINE)
_TOP: Final = ("format", "os", "tables", "registers", "region", "reserve")


def read(path: Any) -> dict[str, Any]:
    """The arguments of a layout out of a TOML file; see ``Layout.read``."""
    name = printable(str(path))
    data = Path(path).read_bytes()
    try:
        text = data.decode()
        found = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LayoutError(f"{name}:{line}: no UTF-8, and so no TOML: {error.reason}") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise LayoutError(f"{name}: {error or 'too deeply nested'}") from None
    return of_mapping(found, name, _lines(text, found))


def _lines(text: str, found: Mapping[str, Any]) -> dict[str, list[int]]:
    """The lines on which regions and reservations begin, where each has a header of its own."""
    lines: dict[str, list[int]] = {"region": [], "reserve": []}
    at, line = 0, 1
    for header in _HEADER.finditer(text):
        line += text.count("\n", at, header.start())
        at = header.start()
        lines[header["name"]].append(line)
    return {name: some for name, some in lines.items() if len(some) == len(found.get(name, ()))}


def of_mapping(
    found: Mapping[str, Any], name: str = "", lines: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Any]:
    """The arguments of a layout, out of what a file has.

    Args:
        found: ``format``, ``tables``, ``region`` and the others, as a file has them.
        name: What messages call it.
        lines: The lines on which regions and reservations begin.

    Raises:
        LayoutError, UnsupportedError: As ``Layout``.
    """
    top = _Reader(name or "the layout", found)
    top.check(_TOP)
    tables = _Reader(f"{name or 'the layout'}: [tables]", top.table("tables"))
    tables.check(_TABLES)
    said = {key: take(tables, key) for key, take in _TABLES.items() if key in tables.found}
    system = top.text("os") if "os" in found else "none"
    registers = _Reader(f"{name or 'the layout'}: [registers]", top.table("registers"))
    try:
        form = find_format(top.text("format"), system)
    except UnsupportedError as error:
        raise UnsupportedError(f"{name}: {error}" if name else str(error)) from None
    where: Any = {"name": name, "lines": lines or {}}
    return {
        "format": form,
        "regions": _every(top, "region", Region, _REGION, **where),
        "reserves": _every(top, "reserve", Reserve, _RESERVE, **where),
        "registers": {key: registers.number(key) for key in registers.found},
        "name": name,
        **said,
    }


class _Place(NamedTuple):
    """A region or a reservation, as messages call it: put into words when there is one."""

    name: str
    line: int | None
    what: str
    number: int
    found: Mapping[str, Any]

    def __str__(self) -> str:
        place = f"{self.name}:{self.line}" if self.line is not None and self.name else self.name
        called = shown(self.found["name"]) if "name" in self.found else f"{self.number}"
        return f"{place}: {self.what} {called}".removeprefix(": ")


class _Reader(NamedTuple):
    """A table of the file, and what messages call it."""

    where: str | _Place
    found: Mapping[str, Any]

    def refuse(self, why: str) -> LayoutError:
        """The error for something in it."""
        return LayoutError(f"{self.where}: {why}")

    def check(self, known: Any) -> None:
        """Refuse keys that are not known."""
        for key in self.found:
            if key not in known:
                near = get_close_matches(str(key), list(known), n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise self.refuse(f"unknown key {shown(key)}: {hint}")

    def number(self, key: str) -> int:
        """A number."""
        value = self.found[key]
        if type(value) is int:
            return value
        try:
            return parse(value) if isinstance(value, str) else integer(value, key)
        except (TypeError, ValueError) as error:
            raise self.refuse(str(error) if "must be" in str(error) else f"{key}: {error}") from None

    def address(self, key: str) -> int:
        """An address: hexadecimal may stand without 0x, in text."""
        value = self.found[key]
        if not isinstance(value, str):
            return self.number(key)
        try:
            return parse(value, address=True)
        except ValueError as error:
            raise self.refuse(f"{key}: {error}") from None

    def text(self, key: str) -> str:
        """A text."""
        if key not in self.found:
            raise self.refuse(f"{key} is missing")
        value = self.found[key]
        if not isinstance(value, str):
            raise self.refuse(f"{key} is a text, not {shown(value)}")
        return value

    def either(self, key: str) -> int | str:
        """A number, or a text that is none."""
        value = self.found[key]
        return value if isinstance(value, str) and not value.strip().isdigit() else self.number(key)

    def truth(self, key: str) -> bool:
        """Yes or no."""
        value = self.found[key]
        if not isinstance(value, bool):
            raise self.refuse(f"{key} is true or false, not {shown(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.found[key]
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise self.refuse(f'{key} is a list of texts, as in ["accessed"], not {shown(value)}')
        return tuple(value)

    def widths(self, key: str) -> int | tuple[int, ...]:
        """A number, or a list of them."""
        value = self.found[key]
        if not isinstance(value, list | tuple):
            return self.number(key)
        return tuple(_Reader(self.where, {key: one}).number(key) for one in value)

    def table(self, key: str) -> Mapping[str, Any]:
        """A table, empty where there is none."""
        value = self.found.get(key, {})
        if not hasattr(value, "items"):
            raise self.refuse(f"{key} is a table, [{key}], not {shown(value)}")
        return value


def _every(
    top: _Reader,
    what: str,
    kind: Callable[..., Any],
    known: Mapping[str, Callable[[_Reader, str], Any]],
    *,
    name: str,
    lines: Mapping[str, Sequence[int]],
) -> tuple[Any, ...]:
    """The regions or the reservations."""
    given = top.found.get(what, ())
    if not isinstance(given, list | tuple) or not all(hasattr(one, "items") for one in given):
        raise top.refuse(f"{what} is a list of tables, [[{what}]] each, not {shown(given)}")
    made = []
    for at, found in enumerate(given):
        line = lines[what][at] if what in lines else None
        reader = _Reader(_Place(name, line, what, at + 1, found), found)
        reader.check(known)
        said = {key: known[key](reader, key) for key in found}
        if what == "region":
            said.setdefault("name", str(at + 1))
        for key in ("vaddr", "size") if what == "reserve" else ("vaddr", "size", "rights"):
            if key not in said:
                raise reader.refuse(f"{key} is missing")
        made.append(kind(**said, line=line))
    return tuple(made)


_TABLES: Final[dict[str, Callable[[_Reader, str], Any]]] = {
    "base": _Reader.address,
    "size": _Reader.number,
    "bits": _Reader.widths,
    "order": _Reader.text,
    "root": _Reader.text,
    "roots": _Reader.texts,
    "largest": _Reader.number,
    "groups": _Reader.truth,
    "set": _Reader.number,
    "clear": _Reader.number,
}
"""The keys of ``[tables]``, and what each is."""
_REGION: Final[dict[str, Callable[[_Reader, str], Any]]] = {
    "name": _Reader.text,
    "vaddr": _Reader.address,
    "paddr": _Reader.address,
    "size": _Reader.number,
    "rights": _Reader.text,
    "memory": _Reader.either,
    "key": _Reader.number,
    "kernel": _Reader.text,
    "state": _Reader.texts,
    "largest": _Reader.number,
    "root": _Reader.text,
    "repeat": _Reader.truth,
    "set": _Reader.number,
    "clear": _Reader.number,
}
"""Those of ``[[region]]``."""
_RESERVE: Final = {
    "vaddr": _Reader.address,
    "size": _Reader.number,
    "page": _Reader.number,
    "root": _Reader.text,
}
"""Those of ``[[reserve]]``."""
