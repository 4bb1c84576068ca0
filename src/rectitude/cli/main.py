"""``rectitude``: the verbs gathered."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rectitude.cli.audit import audit
from rectitude.cli.classify import classify
from rectitude.cli.command import Verb, Verbs
from rectitude.cli.compare import compare
from rectitude.cli.data import data
from rectitude.cli.demo import demo
from rectitude.cli.doctor import doctor
from rectitude.cli.encode import encode
from rectitude.cli.evaluate import evaluate
from rectitude.cli.export import export
from rectitude.cli.federate import federate
from rectitude.cli.fit import fit
from rectitude.cli.keys import keys
from rectitude.cli.models import models
from rectitude.cli.plan import plan
from rectitude.cli.recommend import recommend
from rectitude.cli.report import report
from rectitude.cli.reproduce import reproduce
from rectitude.cli.route import route
from rectitude.cli.serve import serve
from rectitude.cli.tune import tune
from rectitude.cli.unlearn import unlearn
from rectitude.core.about import __version__

app = typer.Typer(
    cls=Verbs,
    name="rectitude",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rectitude {__version__}\n")
        raise typer.Exit


@app.callback()
def rectitude(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error came from.")] = False,
) -> None:
    """Recommenders and other models that decide for people: trained, measured, explained, held to account.

    Examples, with MovieLens-100K:
      rectitude fit ml-100k --model ease --out runs/ease
      rectitude evaluate runs/ease
      rectitude recommend runs/ease --user 196 -k 5
    """


for group, name in ((data, "data"), (unlearn, "unlearn"), (plan, "plan"), (route, "route"), (keys, "keys")):
    app.add_typer(group, name=name)
VERBS = (encode, fit, tune, evaluate, compare, audit, recommend, export, report, serve, reproduce, federate, classify)
for verb in (*VERBS, models, doctor, demo):
    app.command(cls=Verb)(verb)


def run() -> None:
    """Entry point of the command ``rectitude``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a title shows '?' for what it lacks
    app()


if __name__ == "__main__":
    run()
