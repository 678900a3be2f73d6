"""Changes of page tables: operations, plans, commits, journals, undo."""
