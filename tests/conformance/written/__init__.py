"""Scenarios written by hand, one module a theme; each constant is the steps of one, its name says what it shows."""

from . import (
    advice,
    areas,
    dirty,
    execute_only,
    faults,
    guards,
    holes,
    hugetlb,
    hugetlb_files,
    kernel_access,
    keys,
    kinds,
    later,
    limits,
    mapping,
    moving,
    processes,
    rights,
    shared_huge,
    soft_dirty,
    swap,
    thp,
    used,
    watched,
)

THEMES = {
    "areas": areas, "mapping": mapping, "moving": moving, "rights": rights, "advice": advice, "processes": processes,
    "faults": faults, "thp": thp, "kernel access": kernel_access, "holes": holes, "hugetlb": hugetlb,
    "hugetlb files": hugetlb_files, "guards": guards,
    "execute only": execute_only, "kinds": kinds,
    "watched": watched, "swap": swap, "limits": limits, "keys": keys, "later": later, "shared huge": shared_huge,
    "soft dirty": soft_dirty, "dirty": dirty, "used": used,
}  # fmt: skip
WRITTEN = {f"{theme}: {title}": s for theme, module in THEMES.items() for title, s in module.SCENARIOS.items()}
