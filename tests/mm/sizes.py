"""The sizes of x86-64, which these tests have in mind."""

from pagewalk.formats import find_format
from pagewalk.mm.geometry import Geometry

__all__ = ["BLOCK", "GEOMETRY", "PAGE"]

GEOMETRY = Geometry(find_format("x86-64"))
PAGE = GEOMETRY.page_size
BLOCK = GEOMETRY.block_size
