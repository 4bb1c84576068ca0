"""The way through the house as functions: ``fit``, ``evaluate``, ``compare``, ``export``.

Each has the name and the meaning of the command-line verb. ``load``, ``split``, ``tune`` and ``Run`` are found in
their rooms; the package ``rectitude`` gathers them all.
"""

from rectitude.workflow.comparing import compare
from rectitude.workflow.exporting import export
from rectitude.workflow.fitting import fit
from rectitude.workflow.judging import evaluate

__all__ = ["compare", "evaluate", "export", "fit"]
