"""``python -m pagewalk.cli``: the same as ``python -m pagewalk``."""

from _pagewalk import main

main()
