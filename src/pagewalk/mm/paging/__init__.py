"""Paging: faults, huge pages, copying, reclaim."""
