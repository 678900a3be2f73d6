"""x86-64 with 4-level and 5-level paging, and Linux's layer on it.

Source: Intel SDM vol. 3A, 5.4 and 5.5 (tables 5-14 to 5-20); AMD APM vol. 2, 5.3. Linux:
``arch/x86/include/asm/pgtable_types.h``, ``pgtable_64.h``, ``pgtable-invert.h`` (facts checked against 6.18 and 7.3).
"""

from __future__ import annotations

from pagewalk.formats.bits import AddressField, BitTest, FlagBit, SwapField
from pagewalk.formats.flags import Flag
from pagewalk.formats.paging import Level, PagingFormat
from pagewalk.formats.software import SoftwareLayer, SwapTypes

__all__ = ["linux_x86", "x86_64"]

P, RW, US, PWT, PCD, A, D, PS, G = (1 << bit for bit in range(9))
FRAME = (1 << 52) - (1 << 12)


def linux_x86(levels: int = 4, types: SwapTypes | None = None) -> SoftwareLayer:
    """Linux's use of the bits that the MMU leaves alone.

    Args:
        levels: 4 or 5.
        types: The kernel's special swap types, where they differ from the defaults.
    """
    return SoftwareLayer(
        name="linux",
        none_ignores=A | D,  # the Xeon Phi erratum mask, _PAGE_KNL_ERRATUM_MASK
        prot_none=BitTest(P | G, G),  # _PAGE_PROTNONE is bit 8
        inverts_frames=True,  # pgtable-invert.h
        state=(
            FlagBit(Flag.SPECIAL, 9),  # _PAGE_SOFTW1
            FlagBit(Flag.UFFD_WP, 10),  # _PAGE_SOFTW2
            FlagBit(Flag.SOFT_DIRTY, 11),  # _PAGE_SOFTW3
            FlagBit(Flag.SAVED_DIRTY, 58),  # _PAGE_SAVED_DIRTY
        ),
        swap_state=(
            FlagBit(Flag.SOFT_DIRTY, 1),  # _PAGE_SWP_SOFT_DIRTY
            FlagBit(Flag.UFFD_WP, 2),  # _PAGE_SWP_UFFD_WP
            FlagBit(Flag.EXCLUSIVE, 3),  # _PAGE_SWP_EXCLUSIVE
        ),
        swap_type=SwapField(59, 5),
        swap_offset=SwapField(9, 50, inverted=True),
        frame_bits=34 if levels == 4 else 40,  # MAX_PHYSMEM_BITS is 46, or 52 with 5 levels
        types=types or SwapTypes(),
    )


def x86_64(levels: int = 4, physical_bits: int = 52, software: SoftwareLayer | None = None) -> PagingFormat:
    """The paging format of x86-64.

    Args:
        levels: 4, or 5 with CR4.LA57.
        physical_bits: MAXPHYADDR; the address bits above it are reserved.
        software: Linux's layer, with the default swap types unless given.

    Raises:
        ValueError: Not 4 or 5 levels, or a width outside 32..52.
    """
    if levels not in (4, 5) or not 32 <= physical_bits <= 52:
        raise ValueError(f"x86-64 has 4 or 5 levels and 32 to 52 physical bits, not {levels} and {physical_bits}")
    wide = (1 << 52) - (1 << physical_bits)
    top = (
        Level("PGD", "PML5", 0, 48, 9, reserved_table=wide | PS),
        Level("P4D", "PML4", 1, 39, 9, reserved_table=wide | PS),
    )
    folded = (
        Level("PGD", "PML4", 0, 39, 9, reserved_table=wide | PS),
        Level("P4D", "PML4", 1, 39, 0, reserved_table=wide | PS),
    )
    below = (
        # Tables 5-16 to 5-20: bit 12 of a large page is PAT, the address bits under it are reserved.
        Level("PUD", "PDPT", 2, 30, 9, True, wide | (1 << 30) - (1 << 13), wide, PS, 12),
        Level("PMD", "PD", 3, 21, 9, True, wide | (1 << 21) - (1 << 13), wide, PS, 12),
        Level("PTE", "PT", 4, 12, 9, True, wide, movable=7),
    )
    rights = (
        FlagBit(Flag.READ, 0),  # what is present can be read
        FlagBit(Flag.WRITE, 1),
        FlagBit(Flag.USER, 2),
        FlagBit(Flag.EXEC, 63, clear=True),  # XD, with EFER.NXE
    )
    return PagingFormat(
        name="x86-64" if levels == 4 else "x86-64-la57",
        levels=(top if levels == 5 else folded) + below,
        valid=0,
        address=(AddressField(FRAME),),
        table_test=BitTest(PS, 0),
        table_value=P | RW | US | A | D,  # Linux's _PAGE_TABLE
        rights=rights,
        table_rights=rights,
        state=(FlagBit(Flag.ACCESSED, 5), FlagBit(Flag.DIRTY, 6), FlagBit(Flag.GLOBAL, 8)),
        physical_bits=physical_bits,
        fields=(("PWT", 3, 1), ("PCD", 4, 1), ("PKEY", 59, 4)),
        software=software or linux_x86(levels),
    )
