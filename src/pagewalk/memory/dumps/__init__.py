"""Dumps and snapshots of machines: how each maker writes which bytes are which memory."""
