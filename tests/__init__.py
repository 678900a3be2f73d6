"""The tests mirror ``src``; ``reference.py`` is the oracle that they share."""
