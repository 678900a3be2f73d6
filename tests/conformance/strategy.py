"""Random scenarios from Hypothesis, off the same table as the seeded generator."""

from hypothesis import strategies as st

from pagewalk.conform.scenarios.generate import plan


class _Draw:
    def __init__(self, draw):
        self._draw = draw

    def integer(self, low, high):
        return self._draw(st.integers(low, high))


@st.composite
def scenarios(draw, steps=30, hugetlb=False):
    return plan(_Draw(draw), steps, hugetlb=hugetlb)
