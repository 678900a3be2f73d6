"""Bringing pages in for a system call."""

import errno

import pytest

from pagewalk import Machine, SystemCallError, abi

RESERVED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_NORESERVE


@pytest.mark.parametrize("size", [1 << 30, 1 << 44, 1 << 46])
def test_more_is_reserved_than_there_is_room_to_list(size):
    """The first page refuses: nothing is set aside for the others."""
    mm = Machine(16 << 20).mm()
    at = mm.mmap(size, abi.PROT_NONE, RESERVED)
    mm.mlockall(abi.MCL_CURRENT)
    assert mm.smaps()["Rss"] == 0
    with pytest.raises(SystemCallError) as refused:
        mm.mlock(at, size)
    assert refused.value.errno == errno.ENOMEM
