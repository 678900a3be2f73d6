"""Hostile worlds that could be built at all."""

from hypothesis import assume
from hypothesis import strategies as st

from pagewalk.errors import MemoryWriteError
from tests.property import worlds


@st.composite
def hostile_worlds(draw):
    """As the properties' own; one whose first wrong entry leads the second out of the memory is passed over."""
    try:
        return draw(worlds.hostile_worlds())
    except (MemoryWriteError, TypeError):
        assume(False)
