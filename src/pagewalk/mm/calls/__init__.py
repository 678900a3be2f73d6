"""System calls, one file a family."""
