"""Page tables built from a layout, and a layout made of page tables."""
