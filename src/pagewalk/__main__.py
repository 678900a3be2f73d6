"""``python -m pagewalk``: the command line without the installed script."""

from _pagewalk import main

main()
