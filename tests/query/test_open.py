"""``pagewalk.source.open``: what the command line tests do not reach."""

import pytest

from pagewalk import source
from pagewalk.errors import ImageFormatError, Malformed
from pagewalk.formats.hardware.x86 import x86_64
from pagewalk.memory import RawImage
from tests.world import K, M, World

VADDR = 0x7FFF_1234_5000


@pytest.fixture
def image(tmp_path):
    """A file with tables that map one page."""
    world = World(ram=1 * M)
    world.map(VADDR, 64 * K)
    path = tmp_path / "image"
    path.write_bytes(world.memory.segments[0].data)
    return path


@pytest.mark.parametrize("name", [str, lambda path: path])
def test_a_path_of_either_kind(image, name):
    assert source.open(name(image), root=0).translate(VADDR).paddr == 64 * K


def test_a_format_of_ones_own(image):
    form = x86_64(4, 40)
    assert source.open(image, root=0, format=form).format is form


def test_a_file_may_have_a_colon_in_its_name(image):
    other = image.with_name("disk:0")
    image.rename(other)
    assert source.open(other, root=0).translate(VADDR).paddr == 64 * K


def test_writable_tables_reach_the_file(image):
    tables = source.open(image, root=0, writable=True)
    (*_, entry) = tables.steps(VADDR)
    entry.value += 4 * K
    assert source.open(image, root=0).translate(VADDR).paddr == 68 * K


def test_a_base_and_segments_contradict(image):
    with pytest.raises(ValueError, match="contradict"):
        source.open(image, root=0, base=4 * K, segments=[(0, 0, 4 * K)])


def test_segments_leave_holes(image):
    tables = source.open(image, root=0, segments=iter([(0, 0, 4 * K)]))
    assert isinstance(tables.memory, RawImage)
    with pytest.raises(Malformed):
        tables.translate(VADDR)


def test_segments_that_overlap(image):
    with pytest.raises(ImageFormatError, match="overlap"):
        source.open(image, root=0, segments=[(0, 0, 8 * K), (4 * K, 8 * K, 4 * K)])


def test_a_root_in_a_hole(image):
    with pytest.raises(Malformed, match="outside the memory"):
        source.open(image, root=8 * K, segments=[(0, 0, 4 * K)])
