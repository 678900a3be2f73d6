"""State: areas, tables, files, the address space."""
