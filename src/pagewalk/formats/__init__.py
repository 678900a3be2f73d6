"""Paging formats: frozen data about entries, and the one place that knows architectures by name."""

from __future__ import annotations

from pagewalk.formats.access import AccessRule, AccessRules
from pagewalk.formats.bits import NO_PADDR, Bits, Pattern, joined
from pagewalk.formats.capture import capture_format
from pagewalk.formats.codec import Decoded, key_of, memory_of
from pagewalk.formats.encryption import encryption_bits, encryption_mask
from pagewalk.formats.fields import ENCRYPTED, RIGHTS, Field
from pagewalk.formats.find import DEFAULT, FORMATS, find_format, from_registers, systems_of, to_registers, windows_of
from pagewalk.formats.flags import Flag, Kind, Rights
from pagewalk.formats.leaf import KERNEL, Leaf, kernel_of, kernel_text, made, rights_of, rights_text, sizes_of
from pagewalk.formats.level import Level
from pagewalk.formats.os.linux import LINUX, SETTINGS, Linux
from pagewalk.formats.os.linux_kernel import KERNELS, ROOT, TOP, KernelTables
from pagewalk.formats.os.systems import SPELLINGS, SYSTEMS, nearest, system
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.registers import parsed
from pagewalk.formats.root_page import RootPage
from pagewalk.formats.rows import Row
from pagewalk.formats.window import Window
from pagewalk.formats.word import Word

__all__ = [
    "DEFAULT",
    "ENCRYPTED",
    "FORMATS",
    "KERNEL",
    "KERNELS",
    "LINUX",
    "NO_PADDR",
    "RIGHTS",
    "ROOT",
    "SETTINGS",
    "SPELLINGS",
    "SYSTEMS",
    "TOP",
    "AccessRule",
    "AccessRules",
    "Bits",
    "Decoded",
    "Field",
    "Flag",
    "KernelTables",
    "Kind",
    "Leaf",
    "Level",
    "Linux",
    "PagingFormat",
    "Pattern",
    "Rights",
    "RootPage",
    "Row",
    "Window",
    "Word",
    "capture_format",
    "encryption_bits",
    "encryption_mask",
    "find_format",
    "from_registers",
    "joined",
    "kernel_of",
    "kernel_text",
    "key_of",
    "made",
    "memory_of",
    "nearest",
    "parsed",
    "rights_of",
    "rights_text",
    "sizes_of",
    "system",
    "systems_of",
    "to_registers",
    "windows_of",
]
