"""Operations as data: each by its name, with the arguments that it takes; from text, or from a TOML or JSON file."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import shown
from pagewalk.errors import EditError, ImageFormatError, PagewalkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from os import PathLike

    from pagewalk.editing.change import Change

__all__ = ["OPERATIONS", "Operation", "Shape", "parsed", "perform", "read_script"]


class Shape(NamedTuple):
    """What an operation takes.

    Attributes:
        needed: Its arguments, in order.
        numbers: Those among them, and among the options, that are numbers.
        options: What else may be said, by name.
        what: What it does, in a line.
    """

    needed: tuple[str, ...]
    numbers: frozenset[str]
    options: tuple[str, ...]
    what: str


_NUMBERS: Final = frozenset(
    {"vaddr", "paddr", "size", "page_size", "memory", "key", "number", "mask", "value"},
)
_SWITCHES: Final = frozenset({"split", "free_tables"})


def _shape(needed: str, what: str, options: str = "") -> Shape:
    return Shape(tuple(needed.split()), _NUMBERS, tuple(options.split()), what)


OPERATIONS: Final = {
    "install": _shape("vaddr paddr size rights", "map memory where nothing is", "page_size memory key"),
    "unmap": _shape("vaddr size", "empty every entry", "split free_tables"),
    "protect": _shape("vaddr size rights", "give pages these rights", "split"),
    "remap": _shape("vaddr paddr size", "give pages other frames", "split"),
    "split": _shape("vaddr size", "make pages smaller", "page_size"),
    "merge": _shape("vaddr size", "make one page of many", "page_size"),
    "guard": _shape("vaddr size", "put guards where nothing is"),
    "unguard": _shape("vaddr size", "take guards away"),
    "mark": _shape("vaddr size name", "put a marker where nothing is"),
    "unmark": _shape("vaddr size name", "take a marker away"),
    "set_memory": _shape("vaddr size number", "give pages a memory type", "split"),
    "set_key": _shape("vaddr size number", "give pages a protection key", "split"),
    "set_software": _shape("vaddr size mask value", "set bits that are left to software", "split"),
}
"""Every operation by its name, which is that of the method of ``Change``."""


class Operation(NamedTuple):
    """One operation.

    Attributes:
        name: Which.
        arguments: What it is given, by name.
        where: Where it stands, for messages.
    """

    name: str
    arguments: dict[str, Any]
    where: str


def perform(change: Change, operations: Iterable[Operation]) -> None:
    """Do operations, in order. If one cannot be done, the change is none that should be committed.

    Raises:
        PagewalkError: As the operation, saying which it was.
    """
    for operation in operations:
        try:
            getattr(change, operation.name)(**operation.arguments)
        except PagewalkError as error:
            error.add_note(operation.where)
            raise
        except (ValueError, TypeError) as error:
            raise EditError(f"{operation.where}: {error}") from None


def parsed(text: str, number: Callable[[str], int]) -> Operation:
    """An operation out of words: its name, its arguments in order, and ``option=value``.

    Args:
        text: ``install 0x400000 0x10000 4K rw-u page_size=2M``.
        number: Reads a number.

    Raises:
        EditError: It is none.
    """
    where = shown(text)
    try:
        name, *words = shlex.split(text)
    except ValueError:
        raise EditError(f"{where} is no operation: {_known()}") from None
    shape = _shape_of(name, where)
    plain = [word for word in words if "=" not in word and word not in _SWITCHES]
    if len(plain) != len(shape.needed):
        raise EditError(f"{where}: {name} takes {_usage(name)}")
    given: dict[str, Any] = dict(zip(shape.needed, plain, strict=True))
    for word in words:
        option, sign, value = word.partition("=")
        if sign or word in _SWITCHES:
            given[option] = value if sign else True
    return _checked(name, given, where, number)


def read_script(path: str | PathLike[str], number: Callable[[str], int]) -> list[Operation]:
    """The operations in a file: TOML, or JSON where its name ends so.

    A list ``operation`` of tables, each with ``do`` and the operation's arguments: numbers, or text as on the command
    line.

    Raises:
        ImageFormatError: It is no TOML, or no JSON: with line and column.
        EditError: An operation is none.
        OSError: It cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ImageFormatError(f"{path}: {error}") from None
    tables = found.get("operation") if isinstance(found, dict) else None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or len(found) > 1:
        raise EditError(f"{path}: a list 'operation' of tables is needed, and nothing else: [[operation]] in TOML")
    return [_of_table(table, f"{path}, operation {at}", number) for at, table in enumerate(tables, 1)]


def _of_table(table: dict[str, Any], where: str, number: Callable[[str], int]) -> Operation:
    """An operation out of a table."""
    given = dict(table)
    name = given.pop("do", None)
    shape = _shape_of(name, where)
    missing = [one for one in shape.needed if one not in given]
    if missing:
        raise EditError(f"{where}: {name} needs {missing[0]}: it takes {_usage(str(name))}")
    return _checked(str(name), given, where, number)


def _shape_of(name: Any, where: str) -> Shape:
    """What an operation takes."""
    if not isinstance(name, str) or name not in OPERATIONS:
        raise EditError(f"{where}: {shown(name)} is no operation: {_known()}")
    return OPERATIONS[name]


def _checked(name: str, given: dict[str, Any], where: str, number: Callable[[str], int]) -> Operation:
    """An operation with arguments of the right kinds."""
    shape = OPERATIONS[name]
    for argument, value in given.items():
        if argument not in (*shape.needed, *shape.options):
            raise EditError(f"{where}: {name} has no {shown(argument)}: it takes {_usage(name)}")
        given[argument] = _value(argument, value, where, number)
    return Operation(name, given, where)


def _value(argument: str, value: Any, where: str, number: Callable[[str], int]) -> Any:
    """An argument's value."""
    if argument in _NUMBERS:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        try:
            return number(value)
        except (ValueError, TypeError, AttributeError):
            raise EditError(f"{where}: {argument} is a number, not {shown(value)}") from None
    if argument in _SWITCHES:
        if value not in (True, False, "yes", "no"):
            raise EditError(f"{where}: {argument} is yes or no, not {shown(value)}")
        return value in (True, "yes")
    if not isinstance(value, str):
        raise EditError(f"{where}: {argument} is text, not {shown(value)}")
    return value


def _usage(name: str) -> str:
    """How an operation is written."""
    shape = OPERATIONS[name]
    options = [f"[{option}]" if option in _SWITCHES else f"[{option}=N]" for option in shape.options]
    return " ".join([name, *(word.upper() for word in shape.needed), *options])


def usages() -> Sequence[tuple[str, str]]:
    """How each operation is written, and what it does."""
    return [(_usage(name), shape.what) for name, shape in OPERATIONS.items()]


def _known() -> str:
    """The operations that there are."""
    return f"there are {', '.join(OPERATIONS)}"
