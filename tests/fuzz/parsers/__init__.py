"""Each parser in a file of its name: a ``TARGET``."""
