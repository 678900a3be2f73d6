"""``python -m pagewalk.cli``: the command line without the installed script."""

from pagewalk.cli import main

main()
