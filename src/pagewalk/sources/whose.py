"""Whose entries stand in a memory's page tables: what its kernel says of itself, against as whose they are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pagewalk.doors import printable
from pagewalk.formats import FORMATS, find_format, nearest, systems_of

if TYPE_CHECKING:
    from pagewalk.formats import PagingFormat
    from pagewalk.formats.os.linux import Version

__all__ = ["RELEASE", "contradiction", "differing", "reading", "version_of"]

RELEASE: Final = "OSRELEASE"
"""The key of the release in VMCOREINFO."""
_VERSION: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,3})", re.ASCII)


def version_of(release: str) -> Version | None:
    """The version that a release of Linux (``uname -r``) begins with."""
    match = _VERSION.match(release)
    return None if match is None else (int(match[1]), int(match[2]))


def differing(release: str, form: PagingFormat) -> str:
    """The kernel of a release, as ``--os`` spells it, if its entries differ from those of a format; else nothing.

    Configurations are not compared, only versions: a release does not say more.
    """
    version, given = version_of(release), form.system.partition(",")[0]
    if version is None or given == "none" or form.name not in FORMATS or "linux" not in systems_of(form.name):
        return ""
    own = "linux-{}.{}".format(*nearest(version))
    alike = given.startswith("linux") and _hardware(form.name, given) == _hardware(form.name, own)
    return "" if alike else own


def contradiction(release: str, form: PagingFormat) -> str:
    """What to know where entries are read as another system's than the kernel of a release; else nothing."""
    own = differing(release, form)
    told = f"the kernel says that it is {printable(release)}, and its entries are read as {form.system}, whose differ"
    return f"{told}: is the system (--os) wrong? {own} is the kernel's own" if own else ""


def reading(release: str, name: str) -> str:
    """As whose entries a kernel's are read unasked."""
    version = version_of(release)
    near = "" if version is None or version == nearest(version) else ", the nearest that is known"
    return f"the kernel is {printable(release)}: its entries are read as {name}{near}"


def _hardware(name: str, system: str) -> object:
    """What entries mean in a format, in a system's usual configuration."""
    return find_format(name, system).hardware
