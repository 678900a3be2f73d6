"""The way of one address through the tables, as text and as JSON. Works without NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pagewalk.errors import TranslationError
from pagewalk.formats import ENCRYPTED, LINUX, Flag, Kind, rights_text
from pagewalk.memory import lacks_frame
from pagewalk.report.verdicts import inherited, inherited_json, inherited_text, verdict_json, verdict_text
from pagewalk.report.words import columns, flag_names, hexed, read_as, size_text, state_names
from pagewalk.tables import judge

if TYPE_CHECKING:
    from pagewalk.tables import Entry, PageTables, Translation, Verdict, Withheld

__all__ = ["Trip", "trip"]

_RIGHT = frozenset({3})
_PLAIN = (Kind.NONE, Kind.TABLE, Kind.RESERVED)


@dataclass(slots=True)
class Trip:
    """What became of one address.

    Attributes:
        vaddr: The address.
        entries: The entries on the way, root first.
        result: Where it leads; None if it does not translate.
        error: Why it does not.
        told: The entries are those of the memory, not made from what the kernel told of the page. If not, where they
            are and their raw values mean nothing, and are left out.
        swap_known: Where entries are made, swap slots were told too.
        system: The operating system as whose the entries were read.
        memory_types: What the numbers of memory types stand for, where that is known.
        access: The access that was asked for; None: none was.
        verdict: What became of it, where the address translates.
    """

    vaddr: int
    entries: list[Entry] = field(default_factory=list)
    result: Translation | None = None
    error: TranslationError | None = None
    told: bool = True
    swap_known: bool = True
    system: str = LINUX.name
    memory_types: tuple[str, ...] = ()
    access: str | None = None
    verdict: Verdict | None = None

    @property
    def inherited(self) -> tuple[Withheld, ...]:
        """What tables on the way take away of what the page grants."""
        return inherited(self.entries) if self.result is not None and self.told else ()

    def text(self) -> list[str]:
        """Lines: the address, a line a level, where it leads, what of its rights is lost on the way, and the access."""
        rows = [self._row(entry) if self.told else self._made(entry) for entry in self.entries]
        return [
            f"{self.vaddr:#x}{read_as(self.system, '  ')}",
            *(f"  {line}" for line in columns(rows, _RIGHT if self.told else frozenset())),
            f"  {self._outcome()}",
            *(f"  {line}" for line in inherited_text(self.inherited)),
            *(f"  {verdict_text(one, told=self.told)}" for one in (self.verdict,) if one is not None),
        ]

    def _row(self, entry: Entry) -> tuple[str, ...]:
        """The cells of one entry's line."""
        level, flags, target = entry.level, _flags(entry), entry.target
        return (
            level.manual,
            level.real_name,
            f"[{_slot(entry)}]",
            f"at {entry.paddr:#x}",
            f"{entry.value:#0{2 * entry.level.word.size + 2}x}",
            _what(entry),
            "" if target is None else f"{target:#x}",
            rights_text(flags) if entry.is_present else "",
            " ".join((*state_names(flags), *_words(_fields(entry), self._memory_type(entry)))),
        )

    def _memory_type(self, entry: Entry) -> str:
        """What an entry's memory type is called; empty where that is not known, or it has none."""
        number = _fields(entry).get("memory", len(self.memory_types))
        return self.memory_types[number] if number < len(self.memory_types) else ""

    def _made(self, entry: Entry) -> tuple[str, ...]:
        """The cells of an entry that was made: what its page is."""
        level = entry.level
        return (
            level.manual,
            level.real_name,
            f"[{_slot(entry)}]",
            _what(entry),
            " ".join(_words(self._swap_slot(entry))),
        )

    def _swap_slot(self, entry: Entry) -> dict[str, int]:
        """What is known of a made entry's swap slot."""
        return {} if entry.is_table or entry.is_leaf or not self.swap_known else _fields(entry)

    def _outcome(self) -> str:
        """The last line."""
        page = self.result
        if page is None:
            return f"-> {str(self.error).removeprefix(f'{self.vaddr:#x}: ')}"
        where = "frame not known" if page.paddr is None else f"{page.paddr:#x}"
        kind = f"{page.kind.label} {size_text(page.page_size)}"
        words = (f"-> {where}", kind, rights_text(page.flags))
        return "  ".join((*words, " ".join(state_names(page.flags)))).rstrip()

    def _unmade(self, entry: Entry) -> dict[str, Any]:
        """What is not so of a made entry, as plain data."""
        flags = [] if entry.is_table else list(flag_names(entry.flags))
        target = None if entry.is_table else hexed(entry.target)
        return {"slot": None, "entry": None, "target": target, "flags": flags, "fields": self._swap_slot(entry)}

    def json(self) -> dict[str, Any]:
        """The same as plain data: addresses and entries as hex strings, null where there is none."""
        page = self.result
        return {
            "vaddr": hexed(self.vaddr),
            "os": self.system,
            "mapped": page is not None,
            "paddr": hexed(page.paddr) if page else None,
            "page_size": page.page_size if page else None,
            "kind": page.kind.label if page else None,
            "flags": list(flag_names(page.flags)) if page else [],
            "error": str(self.error) if self.error else None,
            "inherited": inherited_json(self.inherited),
            "access": self._access_json(),
            "entries": [_data(entry) | self._more(entry) for entry in self.entries],
        }

    def _access_json(self) -> dict[str, Any] | None:
        """What became of the access that was asked for; of an address that does not translate, nothing more is said."""
        if self.access is None or self.verdict is not None:
            return None if self.verdict is None else verdict_json(self.verdict, told=self.told)
        return {"asked": self.access, "allowed": False, "by": []}

    def _more(self, entry: Entry) -> dict[str, Any]:
        """What an entry alone does not tell; or what of it is not so, where it was made."""
        if not self.told:
            return self._unmade(entry)
        name = self._memory_type(entry)
        return {"fields": _fields(entry) | ({"memory_type": name} if name else {})}


def trip(
    tables: PageTables,
    vaddr: int,
    *,
    hardware: bool = False,
    access: str | None = None,
    told: bool = True,
    swap_known: bool = True,
) -> Trip:
    """Follow an address as far as it goes.

    Args:
        tables: The page tables.
        vaddr: The address in bytes.
        hardware: Answer as the MMU would: a PROT_NONE page is not there.
        access: Also answer whether it would let an access through, such as ``user-write``.
        told, swap_known: As ``Trip`` says.
    """
    way = Trip(vaddr, told=told, swap_known=swap_known, system=tables.format.system, access=access)
    way.memory_types = tables.format.memory_types
    try:
        for entry in tables.steps(vaddr):
            way.entries.append(entry)
        way.result = _located(tables, tables.translate(vaddr, hardware=hardware or access is not None))
        way.verdict = None if access is None else judge(way.entries, access, tables.window_of(vaddr))
    except TranslationError as error:
        way.error = error
    return way


def _located(tables: PageTables, page: Translation) -> Translation:
    """A translation, marked if it leads outside a memory that claims to hold frames."""
    memory = tables.memory
    if page.paddr is None or not lacks_frame(memory, page.paddr):
        return page
    return page._replace(flags=page.flags | Flag.OUTSIDE)


def _holds(entry: Entry) -> str:
    """The kind of what it holds, or what the format calls it where that says more."""
    return entry.name


def _flags(entry: Entry) -> int:
    """Its own flags; of a table's entry the accessed bit too, which the MMU sets at every level."""
    said = entry.level.decode(entry.value).said if entry.is_table else 0
    return int(entry.flags) | int(said)


def _fields(entry: Entry) -> dict[str, int]:
    """What it holds beside flags: the hardware's fields, or those of a swap entry."""
    level, found = entry.level, entry.level.decode(entry.value)
    if found.kind in (Kind.PRESENT, Kind.PROT_NONE):
        return {"memory": found.memory, "pkey": found.key, **_marked(entry)}
    if found.kind is Kind.TABLE:
        return _marked(entry)
    if found.kind in _PLAIN or not level.stored_as_swap(entry.value):
        return {}
    type_, offset = level.swap_slot(entry.value)
    said = found.kind is not Kind.OTHER or type_ or offset
    return {"swap_type": type_, "swap_offset": offset} if said else {}


def _marked(entry: Entry) -> dict[str, int]:
    """Whether it is marked as encrypted memory, where the format says which bit does that."""
    field = entry.level.decode(entry.value).row.field(ENCRYPTED)
    return {} if field is None else {ENCRYPTED: int(entry.value & field.mask != 0)}


def _what(entry: Entry) -> str:
    """What it holds, with the page's size."""
    if entry.is_none:
        return "empty"
    return f"{_holds(entry)} {size_text(entry.level.span)}" if entry.is_leaf else _holds(entry)


def _words(fields: dict[str, int], memory_type: str = "") -> list[str]:
    """Fields in words: those that say something, the memory type with what it is called."""
    words = []
    for name, value in fields.items():
        called = f" ({memory_type})" if memory_type and name == "memory" else ""
        if value or called or "swap" in name:
            words.append(f"{name}={value:#x}{called}")
    return words


def _slot(entry: Entry) -> int:
    """Which slot of the table that really holds it: a folded level's own table has one."""
    return entry.level.slot(entry.paddr)


def _data(entry: Entry) -> dict[str, Any]:
    """One entry as plain data."""
    level = entry.level
    return {
        "table": level.manual,
        "level": level.real_name,
        "depth": level.real_depth,
        "index": _slot(entry),
        "slot": hexed(entry.paddr),
        "entry": hexed(entry.value),
        "kind": entry.kind.label,
        "holds": _holds(entry),
        "target": hexed(entry.target),
        "flags": list(flag_names(_flags(entry))),
        "fields": _fields(entry),
    }
