"""What is built says what the layout says, in every format, for every root, and nothing else."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.editing import Layout, Region, Reserve, build
from pagewalk.editing.building.proof import prove
from pagewalk.formats import FORMATS, find_format, rights_text
from tests.editing.building.drawn import Drawing, expected, places

M = 1 << 20


def answer(tables: pw.PageTables, vaddr: int) -> tuple[int, str] | None:
    """Where an address leads, by a walk."""
    try:
        page = tables.translate(vaddr, hardware=True)
    except (pw.NotPresent, pw.NonCanonical):
        return None
    assert page.paddr is not None
    return page.paddr, rights_text(int(page.flags))


def asked(layout: Layout) -> set[int]:
    """Addresses of all regions, and those beside them."""
    found = {at for region in layout.regions for at in places(layout, region)}
    beside = {at for region in layout.regions for at in (region.vaddr - 1, region.vaddr + region.size)}
    return found | {at for at in beside if 0 <= at < 1 << 64}


@pytest.mark.parametrize("name", FORMATS)
class TestEveryFormat:
    @given(seed=st.integers(0, 1 << 32), order=st.sampled_from(["levels", "regions"]), root=st.sampled_from(["first", "last"]))  # fmt: skip  # noqa: E501
    def test_every_address_leads_where_the_layout_says(self, name, seed, order, root):
        rng = Random(seed)
        layout = Drawing(name, roots=3, groups=rng.random() < 0.7).layout(rng, order=order, root=root)
        built = build(layout)
        prove(built)
        for one in built.roots:
            tables = built.tables(one)
            for vaddr in asked(layout):
                assert answer(tables, vaddr) == expected(layout, one, vaddr), f"{vaddr:#x} of {one!r}"

    def test_the_same_layout_gives_the_same_bytes(self, name):
        layouts = [Drawing(name, roots=3).layout(Random(3)) for _ in range(2)]
        assert build(layouts[0]).data == build(layouts[1]).data
        again = Layout.of(_parsed(layouts[0].text()))
        assert build(again).data == build(layouts[0]).data

    def test_no_more_tables_than_it_takes(self, name):
        form = find_format(name, "none")
        layout = Layout(format=form, base=M, regions=[Region("all", 0, form.page_sizes[-1], "rwxu", paddr=0)])
        built = build(layout)
        levels = [level for level in form.levels_of(built.tables().windows[0]) if not level.folded]
        deep = next(at for at, level in enumerate(levels) if form.page_sizes[-1] in level.page_sizes)
        assert [built.counts[level.name] for level in levels] == [1] * (deep + 1) + [0] * (len(levels) - deep - 1)


def _parsed(text):
    import tomllib

    return tomllib.loads(text)


class TestRoots:
    """Roots share what is no root's own, and each has what is."""

    def layout(self, **more):
        kernel = [Region("kernel", 0xFFFF_8000_0000_0000, 1 << 30, "rwx-", paddr=0, largest=1 << 12)]
        users = [Region(f"user {name}", 0x40_0000, 0x1000 * at, "r-xu", paddr=at << 20, root=name) for at, name in enumerate("abc", 1)]  # fmt: skip  # noqa: E501
        return Layout(**{"format": "x86-64", "base": M, "regions": kernel + users, **more})

    def test_the_kernels_tables_are_there_once(self):
        built = build(self.layout())
        assert built.counts == {"PGD": 3, "PUD": 1 + 3, "PMD": 1 + 3, "PTE": 512 + 3}
        slots = {int.from_bytes(built.data[at * 4096 + 256 * 8 :][:8], "little") for at in range(3)}
        assert len(slots) == 1
        assert prove(built) == 3 * (1 << 30) + 0x6000

    def test_a_table_that_two_need_differently_is_two(self):
        shared = Region("shared", 0x20_0000, 0x1000, "r--u", paddr=0)
        own = Region("own", 0x20_1000, 0x1000, "r--u", paddr=0x1000, root="a")
        other = Region("other", 1 << 39, 0x1000, "r--u", paddr=0x2000, root="b")
        built = build(Layout(format="x86-64", base=M, regions=[shared, own, other]))
        assert built.counts["PTE"] == 3
        assert answer(built.tables("b"), 0x20_1000) is None
        assert answer(built.tables("b"), 0x20_0000) == answer(built.tables("a"), 0x20_0000) == (0, "r--u")

    def test_a_table_that_nobody_shares_is_not_there(self):
        shared = Region("shared", 0x20_0000, 0x1000, "r--u", paddr=0)
        owns = [Region(name, 0x20_1000, 0x1000, "r--u", paddr=0x1000, root=name) for name in "ab"]
        built = build(Layout(format="x86-64", base=M, regions=[shared, *owns]))
        assert built.counts == {"PGD": 2, "PUD": 2, "PMD": 2, "PTE": 2}

    def test_a_half_with_a_register_of_its_own_has_one_root(self):
        form = find_format("arm64-4k", "none")
        kernel = Region("kernel", form.windows[1].start, 0x1000, "rw--", paddr=0)
        users = [Region(name, 0x1000, 0x1000, "rw-u", paddr=0x1000, root=name) for name in "ab"]
        built = build(Layout(format=form, base=M, regions=[kernel, *users]))
        assert built.registers("a")["ttbr1_el1"] == built.registers("b")["ttbr1_el1"]
        assert built.registers("a")["ttbr0_el1"] != built.registers("b")["ttbr0_el1"]
        assert built.counts["PGD"] == 3

    def test_a_half_with_nothing_in_it_is_off(self):
        built = build(Layout(format="arm64-4k", base=M, regions=[Region("a", 0, 0x1000, "rw--", paddr=0)]))
        assert "ttbr1_el1" not in built.registers()
        assert built.registers()["tcr_el1"] >> 23 & 1
        assert len(built.tables().windows) == 1

    def test_no_root_of_that_name(self):
        with pytest.raises(ValueError, match="there is no root 'd': there are 'a', 'b', 'c'"):
            build(self.layout()).registers("d")


class TestShapes:
    def test_reserved_tables_are_there_and_empty(self):
        layout = Layout(format="x86-64", base=M, reserves=[Reserve(0x4000_0000, 4 * M)])
        built = build(layout)
        assert built.counts == {"PGD": 1, "PUD": 1, "PMD": 1, "PTE": 2}
        assert not len(pw.mappings(built.tables()))
        prove(built)

    def test_a_repeated_page(self):
        region = Region("shadow", 0x4000_0000, 4 * M, "r--u", paddr=0x5000, repeat=True)
        built = build(Layout(format="x86-64", base=M, regions=[region]))
        paddrs, _ = pw.translate(built.tables(), [0x4000_0000, 0x4000_1000, 0x403F_FFFF])
        assert paddrs.tolist() == [0x5000, 0x5000, 0x5FFF]
        assert prove(built) == 4 * M

    def test_the_kernel_has_other_rights_in_a_users_page(self):
        regions = [Region(f"{at}", at << 12, 4096, "--xu", paddr=0, kernel=kernel) for at, kernel in enumerate(("r--", "rw-", "rwx"), 1)]  # fmt: skip  # noqa: E501
        built = build(Layout(format="arm64-4k", base=M, regions=regions))
        prove(built)
        for access, allowed in (("kernel-write", [False, True, True]), ("kernel-execute", [False, False, True])):
            assert pw.translate(built.tables(), [1 << 12, 2 << 12, 3 << 12], access=access)[1].tolist() == allowed

    def test_memory_types_by_name(self):
        regions = [Region("uart", 0, 4096, "rw--", memory="Device nGnRE"), Region("ram", 4096, 4096, "rw--", memory=1)]
        built = build(Layout(format="arm64-4k", base=M, regions=regions))
        assert pw.mappings(built.tables())["memory"].tolist() == [2, 1]
        region = Region("a", 0, 4096, "rw--", memory="WC")
        built = build(Layout(format="x86-64", base=M, regions=[region], registers={"pat": 0x01}))
        assert pw.mappings(built.tables())["memory"].tolist() == [0]
        assert built.registers()["pat"] == 1

    def test_bits_that_mean_nothing_to_the_mmu(self):
        region = Region("a", 0, 4096, "rw-u", state=(), set=7 << 9)
        built = build(Layout(format="x86-64", base=M, regions=[region], clear=0x60))
        (row,) = pw.mappings(built.tables(), coalesce=False)
        assert row["entry"] == 1 << 63 | 7 << 9 | 7
        assert int.from_bytes(built.data[:8], "little") == M + 0x1000 | 7

    def test_tables_lie_as_regions_need_them(self):
        regions = [Region(f"{at}", vaddr, 4096, "rw-u", paddr=0) for at, vaddr in enumerate((5 << 30, 0, 2 << 21))]
        built = build(Layout(format="x86-64", base=M, regions=regions, order="regions", root="last"))
        found = [[step.paddr & -4096 for step in built.tables().steps(region.vaddr)] for region in regions]
        assert found[0] == [M + 0x6000, M, M + 0x1000, M + 0x2000]
        assert found[1] == [M + 0x6000, M, M + 0x3000, M + 0x4000]
        assert found[2] == [M + 0x6000, M, M + 0x3000, M + 0x5000]

    def test_a_root_of_32_bytes(self):
        layout = Layout(format="pae", base=M, root="last", regions=[Region("a", 0, 4096, "rw-u", paddr=0)])
        built = build(layout)
        assert built.size == 2 * 4096 + 32
        assert built.registers()["cr3"] == M + 2 * 4096


class TestProof:
    """The proof does not believe what it is shown: whatever word is changed, it says so."""

    @given(seed=st.integers(0, 1 << 32), name=st.sampled_from(FORMATS))
    def test_a_changed_entry_is_found(self, seed, name):
        rng = Random(seed)
        built = build(Drawing(name, roots=2).layout(rng))
        size = built.layout.format.word.size
        where = rng.choice([at for at in range(0, built.size, size) if any(built.data[at : at + size])] or [0])
        data = bytearray(built.data)
        data[where : where + size] = bytes(size)
        if bytes(data) == built.data:
            return
        built.data = bytes(data)
        with pytest.raises(pw.PagewalkError, match=r"in the tables|the tables map|no table is there"):
            prove(built)

    @pytest.mark.parametrize(
        ("bits", "why"),
        [(1 << 13, "leads elsewhere"), (2, "another rights"), (1 << 63, "another rights"), (1 << 6, "another state"),
         (1 << 3, "another memory type"), (1 << 59, "another protection key")],
    )  # fmt: skip
    def test_what_it_says(self, bits, why):
        regions = [Region("a", 0, 0x3000, "r-xu", paddr=0x100000), Region("b", 0x5000, 0x1000, "rwxu", paddr=0)]
        built = build(Layout(format="x86-64", base=M, regions=regions))
        data = bytearray(built.data)
        data[0x3008:0x3010] = (int.from_bytes(data[0x3008:0x3010], "little") ^ bits).to_bytes(8, "little")
        built.data = bytes(data)
        with pytest.raises(pw.PagewalkError, match=f"region 'a' .*{why}"):
            prove(built)
