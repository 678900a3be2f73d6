"""What the source may not name outside ``formats/`` and ``abi/``: an architecture, a level, a bit of an entry.

Three rules, each a function that gives what it finds in a module as ``(line, what)``:

* ``architectures``: in identifiers and strings, by the word: ``is_arm64``, ``"x86-64"``, ``cr3``.
* ``levels``: by the word too (``PMD``, ``pml4_shift``), and by number: ``levels[3]``, ``depth == 4``.
* ``bits``: a shift or a mask by a number on a raw entry, and a raw entry compared with one. A number is a literal, a
  constant in capitals, or what is made of them; a raw entry is what is called so (``ENTRIES``), its elements included.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    Found = Iterator[tuple[int, str]]

__all__ = ["RULES", "architectures", "bits", "levels"]

ARCHITECTURES: Final = re.compile(
    r"x86|x86 64|x86 32|amd64|intel|i[3-6]86|ia32|ia 32|la57|pae|ept|arm|armv\d|arm64|aarch64|lpa2|riscv|riscv32|"
    r"riscv64|sv32|sv39|sv48|sv57|svnapot|svpbmt|s390x?|ppc64|powerpc|loongarch|mips|sparc|"
    r"cr[034]|efer|ttbr[01]?( el1)?|tcr( el1)?|mair( el1)?|satp|hgatp|eptp"
)
"""Architectures, what they are made of, and the registers that say where their tables are."""
LEVELS: Final = re.compile(r"pgd|p4d|pud|pmd|pte|pgds|p4ds|puds|pmds|ptes|pml[45]|pdpt|pdpte|last depth")
KERNELS: Final = re.compile(r"\b(walk\.pgd|(pgd|p4d|pud|pmd|pte)_entry|pte_hole|install_pte|pte_tables|VmPTE)\b")
"""The contract's own names; ``pte_tables``, which is what ``sweep.walk`` makes of one; a field in ``/proc``."""
ENTRIES: Final = re.compile(r"(.*_)?(entry|entries|slots?|raw|leaf|leaves|pte|pmd|pud|value)")
"""What a raw entry, or an array of them, is called."""
WIDEST: Final = 64
"""Bits of the widest entry: whether a number has more of them is not a question about an entry."""
_OPERATORS: Final = (ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor)


def architectures(tree: ast.Module) -> Found:
    """Where an architecture is named."""
    for line, text in _said(tree):
        if _words(text, ARCHITECTURES):
            yield line, text


def levels(tree: ast.Module) -> Found:
    """Where a level is named, or meant by its number."""
    for line, text in _said(tree):
        if _words(KERNELS.sub("", text), LEVELS):
            yield line, text
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and _name(node.value) in ("levels", "real_levels")
            and _is_number(node.slice)
        ) or (isinstance(node, ast.Compare) and _compares_depth(node)):
            yield node.lineno, ast.unparse(node)


def bits(tree: ast.Module) -> Found:
    """Where bits of a raw entry are looked at by number."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
            operands = [node.left, node.right]
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, _OPERATORS):
            operands = [node.target, node.value]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            operands = [each for each in (node.left, *node.comparators) if not isinstance(each, ast.BinOp)]
        else:
            continue
        if any(map(_is_raw, operands)) and any(map(_is_fixed, operands)):
            yield node.lineno, ast.unparse(node)


RULES: Final = {"an architecture": architectures, "a level": levels, "bits of an entry": bits}


# -- what a module says ------------------------------------------------------------------------------------------------


def _said(tree: ast.Module) -> Found:
    """Every identifier and every string, but prose: docstrings, and texts of ``help=``."""
    prose = set(_prose(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.lineno, node.value
        for name in _identifiers(node):
            yield getattr(node, "lineno", 0), name


def _prose(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg == "help":
            yield from ast.walk(node.value)


def _identifiers(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.MatchAs(name=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.keyword(arg=str(name)):
            yield name
        case ast.alias(name=name, asname=other):
            yield from (name, other or "")


def _words(text: str, pattern: re.Pattern[str]) -> bool:
    """Whether a pattern matches whole words of a text; ``_`` and ``-`` part words, and so does a capital letter."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return bool(re.search(rf"\b({pattern.pattern})\b", re.sub(r"[\W_]+", " ", parted).lower()))


# -- numbers and entries -----------------------------------------------------------------------------------------------


def _name(node: ast.AST) -> str:
    """What something is called: its last name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_number(node: ast.AST) -> bool:
    """Whether it is a number of a level: the first and the last one are places, not numbers."""
    try:
        number = ast.literal_eval(node)
    except ValueError:
        return False
    return isinstance(number, int) and number not in (0, -1)


def _compares_depth(node: ast.Compare) -> bool:
    """Whether a depth is compared with a number other than 0, the top, and -1, which is none."""
    operands = [node.left, *node.comparators]
    return any(_name(each) in ("depth", "level") for each in operands) and any(map(_is_number, operands))


def _is_raw(node: ast.AST) -> bool:
    """Whether it is a raw entry, or some: by its name, also under ``.value``, an index, or a cast."""
    match node:
        case ast.Attribute(value=inner, attr="value") | ast.Subscript(value=inner):
            return _is_raw(inner)
        case ast.Call(func=ast.Attribute(attr="uint64") | ast.Name(id="int"), args=[inner]):
            return _is_raw(inner)
        case ast.BinOp(left=inner, op=ast.LShift() | ast.RShift() | ast.BitAnd() | ast.BitOr() | ast.BitXor()):
            return _is_raw(inner)
    return bool(ENTRIES.fullmatch(_name(node)))


def _is_fixed(node: ast.AST) -> bool:
    """Whether it is a number written here: a literal, a constant in capitals, or made of such."""
    match node:
        case ast.Constant(value=int(number)):
            return number != WIDEST
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").isupper()
        case ast.UnaryOp(operand=inner) | ast.Call(func=ast.Attribute(attr="uint64" | "uint32"), args=[inner]):
            return _is_fixed(inner)
        case ast.BinOp(left=left, right=right):
            return _is_fixed(left) and _is_fixed(right)
    return False
