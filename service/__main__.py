"""``python -m service`` is the ``clarion`` command."""

from service.cli import main

main()
