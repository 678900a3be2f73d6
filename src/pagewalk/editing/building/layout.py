"""A layout: what shall be mapped where, checked, and not built yet."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import choice, integer, not_negative, shown
from pagewalk.editing.building.areas import Areas, areas_of, mask_of
from pagewalk.editing.building.layout_file import of_mapping, read
from pagewalk.editing.building.layout_text import text_of
from pagewalk.editing.building.outline import Outline, Region, Reserve
from pagewalk.errors import LayoutError, UnsupportedError
from pagewalk.formats import PagingFormat, find_format, from_registers, to_registers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Layout", "Region", "Reserve"]

_ORDERS: Final = ("levels", "regions")
_ENDS: Final = ("first", "last")


class Layout(Outline):
    """What shall be mapped where: an ``Outline`` in which everything has been checked but what entries can say.

    Raises:
        LayoutError: Regions overlap, or have one name; one is misaligned, or outside the format's addresses; or what is
            said is of the wrong kind.
        UnsupportedError: The format has no such page size, memory type, width.
    """

    def __init__(
        self,
        *,
        format: PagingFormat | str,  # noqa: A002 - as everywhere
        regions: Iterable[Region] = (),
        reserves: Iterable[Reserve] = (),
        base: int = 0,
        size: int | None = None,
        bits: int | tuple[int, ...] | None = None,
        order: str = "levels",
        root: str = "first",
        roots: Iterable[str] = (),
        largest: int | None = None,
        groups: bool = True,
        set: int = 0,  # noqa: A002
        clear: int = 0,
        registers: Mapping[str, int] | None = None,
        name: str = "",
    ) -> None:
        regions, reserves = tuple(regions), tuple(reserves)
        every: tuple[Region | Reserve, ...] = (*regions, *reserves)
        named = [one.root for one in every if one.root is not None]
        try:
            super().__init__(
                format=find_format(format, None if isinstance(format, PagingFormat) else "none"),
                regions=regions,
                reserves=reserves,
                base=not_negative(base, "base"),
                size=None if size is None else not_negative(size, "size"),
                bits=tuple(bits) if isinstance(bits, list | tuple) else bits,
                order=choice(order, "order", _ORDERS),
                root=choice(root, "root", _ENDS),
                roots=tuple(dict.fromkeys((*roots, *named))) or ("",),
                largest=None if largest is None else not_negative(largest, "largest"),
                groups=bool(groups),
                set=mask_of(set, "set"),
                clear=mask_of(clear, "clear"),
                registers={key: integer(value, key) for key, value in (registers or {}).items()},
                name=name,
            )
            assert self.windows
        except UnsupportedError as error:
            raise UnsupportedError(f"{name}: {error}" if name else str(error)) from None
        except (TypeError, ValueError) as error:
            raise LayoutError(f"{name or 'the layout'}: {error}") from None
        self._check_registers()
        self._check_names()
        assert self.areas

    def _check_registers(self) -> None:
        """Refuse registers that say anything but what memory types are."""
        wanted = to_registers(self.format, self.windows)
        strange = sorted(set(self.registers) - set(wanted))
        if strange:
            raise UnsupportedError(
                f"{self.title}: {shown(strange[0])} is no register to load for {self.format.name}: "
                f"those are {', '.join(wanted)}"
            )
        said = from_registers(wanted | dict(self.registers), "none")
        if [window[:2] for window in said.windows] != [
            window[:2] for window in self.windows
        ] or said.format.name != self.format.name:
            raise LayoutError(
                f"{self.title}: {', '.join(self.registers)} contradict the format {self.format.name}: leave "
                "out those that say where tables are"
            )

    def _check_names(self) -> None:
        """Refuse two regions of one name."""
        names = Counter(region.name for region in self.regions)
        if len(names) == len(self.regions):
            return
        name = next(name for name, count in names.items() if count > 1)
        first, second = [region for region in self.regions if region.name == name][:2]
        there = "" if first.line is None else f", on line {first.line}"
        raise LayoutError(f"{self.where(second)} has the name of another{there}: call one of them otherwise")

    @cached_property
    def areas(self) -> Areas:
        """The regions as columns, checked."""
        return areas_of(self)

    @classmethod
    def read(cls, path: str | Path) -> Layout:
        """A layout out of a TOML file.

        Raises:
            LayoutError: As the constructor; or the file is no TOML: the message says line and column.
            OSError: It cannot be read.
        """
        return cls(**read(path))

    @classmethod
    def of(cls, what: Any) -> Layout:
        """A layout: as it is, out of a mapping as a file has it, or read from a path."""
        if isinstance(what, Layout):
            return what
        return cls(**of_mapping(what)) if hasattr(what, "items") else cls.read(what)

    def text(self) -> str:
        """The layout as TOML."""
        return text_of(self, self.areas.ranks.argsort().tolist())
