"""PAGEMAP_SCAN and madvise, on this process's own memory."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

import numpy as np
import pytest

from pagewalk import UnsupportedError, abi
from pagewalk.live import REGION, PageIs, madvise, process_madvise, read_pagemap, scan
from pagewalk.live.procfs import ProcessFiles
from pagewalk.live.scan import scan_files

PAGE = 4096


@pytest.fixture
def pages(scanner):
    """64 pages: every second one touched."""
    buffer = mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, 64, 2):
        buffer[at * PAGE] = 1
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    yield start, start + 64 * PAGE
    del buffer


class TestScan:
    def test_regions(self, pages):
        start, end = pages
        regions = scan(0, start, end)
        assert regions.dtype == REGION
        assert regions["start"].tolist() == [start + at * PAGE for at in range(0, 64, 2)]
        assert set((regions["end"] - regions["start"]).tolist()) == {PAGE}
        assert {PageIs(each) for each in regions["categories"].tolist()} == {PageIs.PRESENT | PageIs.WRITTEN}

    def test_a_full_vector_is_gone_on_from(self, pages):
        start, end = pages
        with ProcessFiles(0) as files:
            few = scan_files(
                files, start, end, anyof=PageIs.PRESENT, returns=PageIs.PRESENT, vector=np.empty(5, REGION)
            )
        assert len(few) == 32
        assert few["start"].tolist() == scan(0, start, end)["start"].tolist()

    @pytest.mark.parametrize("count", [511, 512, 513, 600, 1024, 1025])
    @pytest.mark.parametrize("vector", [256, 512, 1024, 4096])
    def test_every_region_once(self, scanner, count, vector):
        """The kernel answers 512 regions at a time, however long the vector is: none of them comes twice."""
        buffer = mmap.mmap(-1, 2 * count * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        madvise(start, 2 * count * PAGE, abi.MADV_NOHUGEPAGE)
        for at in range(count):
            buffer[2 * at * PAGE] = 1
        with ProcessFiles(0) as files:
            options = {"anyof": PageIs.PRESENT, "returns": PageIs.PRESENT, "vector": np.empty(vector, REGION)}
            regions = scan_files(files, start, start + 2 * count * PAGE, **options)
        assert regions["start"].tolist() == [start + 2 * at * PAGE for at in range(count)]

    def test_beyond_a_process(self, scanner):
        with pytest.raises(UnsupportedError, match="beyond the addresses of a process"):
            scan(0, 0, 1 << 47)

    def test_all_pages_of_a_vma(self, pages):
        start, end = pages
        whole = scan(0, start, end, anyof=PageIs(0), returns=PageIs(0))
        assert whole.tolist() == [(start, end, 0)]

    def test_guards_alone(self, pages):
        start, end = pages
        madvise(start + 8 * PAGE, 3 * PAGE, abi.MADV_GUARD_INSTALL)
        (region,) = scan(0, start, end, anyof=PageIs.GUARD, returns=PageIs.GUARD | PageIs.PRESENT).tolist()
        assert region == (start + 8 * PAGE, start + 11 * PAGE, PageIs.GUARD)
        madvise(start + 8 * PAGE, 3 * PAGE, abi.MADV_GUARD_REMOVE)
        assert not len(scan(0, start, end, anyof=PageIs.GUARD))

    def test_what_the_kernel_does_not_know(self, pages):
        with pytest.raises(UnsupportedError, match=r"needs Linux 6\.7"):
            scan(0, *pages, returns=PageIs.PRESENT | 1 << 40)

    def test_read_pagemap(self, pages):
        start, end = pages
        words = read_pagemap(0, [start, start + 32 * PAGE], [start + 4 * PAGE, end])
        assert (words >> np.uint64(63)).tolist() == [1, 0] * 18


class TestMadvise:
    def test_refused(self, pages):
        start, _ = pages
        with pytest.raises(OSError, match="MADV_GUARD_INSTALL") as caught:
            madvise(start + 1, PAGE, abi.MADV_GUARD_INSTALL)
        assert caught.value.errno == errno.EINVAL
        assert f"{start + 1:#x}" in str(caught.value)
        with pytest.raises(OSError, match="4711") as caught:
            madvise(start, PAGE, 4711)
        assert caught.value.errno == errno.EINVAL

    def test_process_madvise(self, pages):
        start, end = pages
        pidfd = os.pidfd_open(os.getpid())
        try:
            ranges = [(start, 2 * PAGE), (start + 6 * PAGE, PAGE)]
            assert process_madvise(pidfd, ranges, abi.MADV_GUARD_INSTALL) == 3 * PAGE
        finally:
            os.close(pidfd)
        regions = scan(0, start, end, anyof=PageIs.GUARD)
        assert [region[:2] for region in regions.tolist()] == [(at, at + size) for at, size in ranges]

    def test_process_madvise_refused(self, pages):
        with pytest.raises(OSError, match="process_madvise") as caught:
            process_madvise(-1, [(pages[0], PAGE)], abi.MADV_COLD)
        assert caught.value.errno == errno.EBADF
