"""``python -m rectitude``: the command line, also for ``torchrun -m rectitude fit …``."""

from rectitude.cli.main import run

run()
