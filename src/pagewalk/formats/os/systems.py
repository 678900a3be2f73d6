"""What ``--os`` says: an operating system, of Linux its version and what of its configuration matters.

``linux`` is the newest kernel; ``linux-6.12`` one of that version; options follow after commas, ``name=yes`` or ``no``.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError
from pagewalk.formats.os.linux import LINUX, SETTINGS, Linux

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.formats.os.linux import Version

__all__ = ["SPELLINGS", "SYSTEMS", "System", "near", "nearest", "system"]

_MINORS: Final = {3: range(10, 20), 4: range(21), 5: range(20), 6: range(20), 7: range(4)}
"""Kernels that are known: the minors of each major."""
_VERSION: Final = re.compile(r"linux(?:-([0-9]{1,2})\.([0-9]{1,2}))?", re.ASCII)
_VALUES: Final = {"yes": True, "no": False}
SYSTEMS: Final = ("linux", "windows", "none")
"""The operating systems that ``--os`` takes."""
_OLDEST: Final = min(_MINORS), min(_MINORS[min(_MINORS)])
SPELLINGS: Final = "linux, linux-{}.{} to linux-{}.{}, windows, none".format(*_OLDEST, *LINUX.version)
"""How ``--os`` spells them; options may follow a kernel (``SETTINGS``)."""


class System(NamedTuple):
    """An operating system.

    Attributes:
        family: A name out of ``SYSTEMS``.
        name: As it was asked for, in full.
        linux: The kernel; of other systems of no account.
    """

    family: str = LINUX.name
    name: str = LINUX.name
    linux: Linux = LINUX


def system(name: str | None) -> System:
    """The system that a name says; None: the newest Linux.

    Raises:
        UnsupportedError: No system of that name, a version or an option that is not known, or one that says nothing.
        TypeError: No name.
    """
    if name is None:
        return System()
    if not isinstance(name, str):
        raise TypeError(f"the name of an operating system is needed, not {shown(name)}")
    head, *options = name.split(",")
    version = _version(name, head) if head.startswith("linux") else None
    if version is None:
        if head not in SYSTEMS:
            raise UnsupportedError(f"unknown system {shown(name)}: {near(head, SYSTEMS)}known are {SPELLINGS}")
        if options:
            raise UnsupportedError(f"{head} takes no options, as in {shown(name)}: only Linux does")
        return System(head, name)
    return System(LINUX.name, name, Linux(version, name, tuple(_settings(head, version, options))))


def _version(name: str, head: str) -> Version:
    """The version that a name of Linux says."""
    match = _VERSION.fullmatch(head)
    if match is None:
        raise UnsupportedError(f"unknown system {shown(name)}: known are {SPELLINGS}")
    if match[1] is None:
        return LINUX.version
    version = int(match[1]), int(match[2])
    if version[1] not in _MINORS.get(version[0], ()):
        raise UnsupportedError(f"unknown system {shown(name)}: known are {SPELLINGS}; take the nearest older one")
    return version


def nearest(version: Version) -> Version:
    """The newest kernel that is known and no newer than one; of those that are older than all, the oldest."""
    known = ((major, minor) for major, minors in _MINORS.items() for minor in minors)
    return max((one for one in known if one <= version), default=_OLDEST)


def _settings(head: str, version: Version, options: Iterable[str]) -> Iterable[tuple[str, bool]]:
    """What options say of a kernel's configuration."""
    seen = set()
    for option in options:
        name, _, value = option.partition("=")
        if name not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise UnsupportedError(f"{head} has no option {shown(name)}: {near(name, SETTINGS)}known are {known}")
        if value not in _VALUES:
            raise UnsupportedError(f"{name} is yes or no, not {shown(value)}: write {name}=yes or {name}=no")
        if name in seen:
            raise UnsupportedError(f"{name} is given twice: give each option once")
        if not SETTINGS[name].matters(version):
            raise UnsupportedError(f"{head} has the same entries whatever {name} is: leave it out")
        seen.add(name)
        yield name, _VALUES[value]


def near(name: str, known: Iterable[str]) -> str:
    """What may have been meant."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"did you mean {found[0]!r}? " if found else ""
