"""Memories, and the kit that checks them."""
