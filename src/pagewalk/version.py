"""The version, from the metadata of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("pagewalk")
except PackageNotFoundError:  # run from a copy of the sources that nobody installed
    __version__ = "0+unknown"
