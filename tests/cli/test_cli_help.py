"""Help, versions, and what is said to those who mistype."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import typer
from typer.testing import Result

import rectitude
from rectitude.cli import options
from rectitude.cli.main import app

Cli = Callable[..., Result]


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from commands(below, (*path, name))


VERBS = [pytest.param(path, command, id=" ".join(path)) for path, command in commands()]


def test_every_verb_is_there() -> None:
    verbs = {" ".join(path) for path, _ in commands()}
    data = {f"data {verb}" for verb in ("list", "get", "describe", "import")}
    others = {"fit", "evaluate", "compare", "recommend", "export", "report", "tune", "models", "doctor", "demo"}
    others |= {"federate", "classify"}
    others |= {"audit", "encode", "unlearn attribute", "reproduce"}
    others |= {"serve", "keys make", "keys list", "keys revoke"}
    others |= {f"plan {verb}" for verb in ("schema", "fit", "for", "report")}
    others |= {f"route {verb}" for verb in ("ask", "cascade", "negotiate", "serve", "audit", "priors", "import")}
    assert verbs == data | others


@pytest.mark.parametrize(("path", "command"), VERBS)
def test_help_has_examples_whose_options_exist(path: tuple[str, ...], command: Any, cli: Cli) -> None:
    shown = cli(*path, "--help").stdout
    examples = re.findall(r"^ +rectitude (.*)$", shown, re.MULTILINE)
    assert examples
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for example in examples:
        words = shlex.split(example)
        assert tuple(words[: len(path)]) == path
        assert {word for word in words if word.startswith("-")} <= known
    assert "--json" in known
    assert "\\[" not in shown


@pytest.mark.parametrize(("path", "command"), VERBS)
def test_every_option_and_argument_is_explained(path: tuple[str, ...], command: Any) -> None:
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{' '.join(path)}: {parameter.name}"


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_main_help_names_the_verbs_in_full(words: tuple[str, ...], cli: Cli) -> None:
    result = cli(*words, code=0 if words else 2)
    shown = (result.stdout + result.stderr).split("Commands:")[1]
    assert shown.split()[0] == "data"
    assert "..." not in shown


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout == f"rectitude {rectitude.__version__}\n"


def test_choices_of_the_command_line_are_those_of_the_code() -> None:
    from rectitude.data.readers import Format
    from rectitude.data.split import Rule
    from rectitude.workflow.judging import FoldName

    assert get_args(options.Rule) == get_args(Rule)
    assert get_args(options.FoldName) == get_args(FoldName)
    optional, _ = get_args(options.Format)
    assert get_args(optional)[0] == Format


def test_importing_every_verb_loads_nothing_heavy() -> None:
    heavy = "torch", "polars", "pandas", "optuna", "scipy"
    code = f"import sys, rectitude.cli.main; print(*(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evalute", "x"), "Error: No such command 'evalute'. Did you mean 'evaluate'?"),
        (("evaluate", "x", "--flod", "test"), "Error: No such option '--flod'. Did you mean '--fold'?"),
        (("data", "desribe", "x"), "Error: No such command 'desribe'. Did you mean 'describe'?"),
        (("fit", "x"), "Error: Missing option '--model' / '-m'. See 'rectitude fit --help'"),
        (("evaluate",), "Error: Missing argument 'RUN'. See 'rectitude evaluate --help'"),
        (("evaluate", "x", "--fold", "train"), "'train' is not one of 'valid', 'test'"),
        (("fit", "x", "-m", "ease", "--k-core", "0"), "0 is not in the range x>=1"),
        (("fit", "x", "-m", "ease", "--seed", "one"), "'one' is not a valid int"),
    ],
)
def test_mistyped_command_lines(words: tuple[str, ...], said: str, refusal: Callable[..., str]) -> None:
    assert said in refusal(*words, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "x", "-m", "sasrek"), "Unknown model 'sasrek'. Did you mean 'sasrec'?"),
        (("fit", "x", "-m", "ease", "--set", "l2"), "'l2' is not a setting (--set). Write it as key=value"),
        (("fit", "x", "-m", "ease", "--split-set", "seed=1"), "--split-set needs a rule"),
        (("fit", "x", "-m", "ease", "--split", "ratio", "--split-set", "x"), "'x' is not a setting (--split-set)"),
        (("fit", "x", "-m", "ease", "--columns", "user"), "'user' names no column (--columns)"),
        (
            ("tune", "x", "-m", "sasrec", "--metric", "ndgc@10"),
            "'ndgc@10' is no metric (--metric). Did you mean 'ndcg'",
        ),
        (("tune", "x", "-m", "sasrec", "--metric", "ndcg"), "'ndcg' is no metric"),
        (("tune", "x", "-m", "popularity"), "'popularity' has no setting left to search"),
        (("recommend", "x"), "Give --user, --history or --titles"),
        (("recommend", "x", "--user", "1", "--history", "2"), "Give --user, --history or --titles"),
        (("data", "get", "ml-100"), "No known set is called 'ml-100'. Did you mean 'ml-100k'?"),
        (("data", "describe", "ml-100"), "Did you mean 'ml-100k'?"),
    ],
)
def test_mistyped_names(words: tuple[str, ...], said: str, refusal: Callable[..., str]) -> None:
    assert said in refusal(*words)


def test_column_maps() -> None:
    assert options.parse_columns(None) is None
    assert options.parse_columns(["user=a, item=b", "rating="]) == {"user": "a", "item": "b", "rating": None}


def test_separator_can_be_written_as_a_tab() -> None:
    assert options.reading(separator="\\t")["separator"] == "\t"
