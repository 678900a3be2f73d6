"""``pagewalk.sources.open``: what the command line tests do not reach."""

import pytest

from pagewalk import sources as source
from pagewalk.errors import BadRoot, ImageFormatError, Malformed, UnsupportedError
from pagewalk.formats.hardware.arm64 import arm64
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


class TestWhere:
    """By a root or by registers, and how both go with a format and a system."""

    def test_registers(self, image):
        tables = source.open(image, registers="cr3=0,cr4=0x20")
        assert (tables.root, tables.format.name, tables.translate(VADDR).paddr) == (0, "x86-64", 64 * K)

    def test_neither(self, image):
        with pytest.raises(TypeError, match="where the tables are is not said: give a root, or registers"):
            source.open(image)

    def test_both(self, image):
        with pytest.raises(ValueError, match="a root and registers contradict each other: give one or the other"):
            source.open(image, root=0, registers={"cr3": 0})

    def test_a_format_that_is_said_twice(self, image):
        assert source.open(image, registers={"cr3": 0}, format="x86-64").format.name == "x86-64"

    @pytest.mark.parametrize("form", ["x86-64-la57", x86_64(5), "arm64-4k", arm64()])
    def test_a_format_that_contradicts(self, image, form):
        name = form if isinstance(form, str) else form.name
        with pytest.raises(UnsupportedError, match=f"the registers say x86-64, and the format {name} contradicts them"):
            source.open(image, registers={"cr3": 0}, format=form)

    def test_a_format_of_ones_own_beside_registers(self, image):
        form = x86_64(4, 40)
        tables = source.open(image, registers={"cr3": 0}, format=form)
        assert tables.format is form
        assert tables.translate(VADDR).paddr == 64 * K

    @pytest.mark.parametrize("where", [{"root": 0}, {"registers": {"cr3": 0}}])
    def test_a_system(self, image, where):
        assert source.open(image, **where).format.system == "linux"
        assert source.open(image, os="none", **where).format.system == "none"
        assert source.open(image, os="linux-7.2", format="x86-64", **where).format.system == "linux-7.2"
        with pytest.raises(UnsupportedError, match="unknown system 'linux-0"):
            source.open(image, os="linux-0.1", **where)
        with pytest.raises(UnsupportedError, match="with linux's entries: 'none' contradicts"):
            source.open(image, os="none", format=x86_64(), **where)

    def test_a_root_outside(self, image):
        with pytest.raises(BadRoot, match=r"the root 0x40000000 of cr3 is outside .*truncated.*--base.* cr3 is wrong$"):
            source.open(image, registers={"cr3": 1 << 30})

    @pytest.mark.parametrize(("outside", "inside"), [("ttbr0_el1", "ttbr1_el1"), ("ttbr1_el1", "ttbr0_el1")])
    def test_one_root_of_two_outside(self, image, outside, inside):
        """A kernel thread has no user's half: refused, with the way to the rest."""
        tcr, root = 16 | 16 << 16 | 2 << 30, 1 << 30
        registers = {"tcr_el1": tcr, outside: 0, inside: root}
        with pytest.raises(BadRoot, match=f"0x0 of {outside} is outside .* without {outside} the rest can be opened"):
            source.open(image, base=root, registers=registers)
        del registers[outside]
        (window,) = source.open(image, base=root, registers=registers).windows
        assert window.root == root
        with pytest.raises(BadRoot) as caught:
            source.open(image, base=2 << 30, registers={**registers, outside: 0})
        assert "the rest" not in str(caught.value)
