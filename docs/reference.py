"""Pages of the documentation that are read off the code, so that they cannot differ from it."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import walk_packages
from textwrap import dedent
from typing import Any

from rectitude.cli.main import app
from rectitude.core.config import Settings
from rectitude.data.catalogue import known_sets
from rectitude.models.registry import model_class, model_names


def pages() -> dict[str, str]:
    """File name to Markdown."""
    return {
        "models.md": models_table() + model_sections(),
        "sets.md": sets_table(),
        "cli.md": commands(),
        "api.md": modules(),
    }


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def models_table() -> str:
    """Name, what it reads, whom it serves, paper."""
    rows = []
    for name in model_names():
        model = model_class(name)
        reads = " and ".join(sorted(model.reads, reverse=True)) or "nothing"
        rows.append(
            (f"[`{name}`](#{name})", reads, _yes(model.serves_new_users), _yes(model.serves_new_items), model.paper)
        )
    return _table(("name", "reads", "serves new users", "ranks new items", "paper"), rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def model_sections() -> str:
    """One section per model: what it is and its settings."""
    text = ""
    for name in model_names():
        model = model_class(name)
        text += f"\n({name})=\n## {model.title}\n\n{(model.__doc__ or '').splitlines()[0]}\n\n{model.paper}.\n\n"
        text += settings_table(model.Config)
    return text


def settings_table(config: type[Settings]) -> str:
    """Every setting with its default and meaning."""
    rows = [
        (f"`{key}`", f"`{field.default}`", " ".join((field.description or "").split()))
        for key, field in config.model_fields.items()
    ]
    return _table(("setting", "default", "meaning"), rows) if rows else "No settings.\n"


FLOORS = (
    "workflow",
    "data",
    "encoders",
    "models",
    "nn",
    "training",
    "evaluation",
    "audit",
    "runs",
    "reporting",
    "core",
)


def modules() -> str:
    """Every module, floor by floor, in the words of its docstrings."""
    text = ""
    for floor in FLOORS:
        package = import_module(f"rectitude.{floor}")
        text += f"\n## rectitude.{floor}\n\n{(package.__doc__ or '').splitlines()[0]}\n"
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not module.ispkg:
                text += f"\n### {module.name}\n\n```{{eval-rst}}\n.. automodule:: {module.name}\n```\n"
    return text


def sets_table() -> str:
    """Known data sets with their size and terms."""
    rows = [
        (f"`{known.name}`", known.what, f"{known.users:,}", f"{known.items:,}", f"{known.interactions:,}", known.terms)
        for known in known_sets()
    ]
    return _table(("name", "what", "users", "items", "interactions", "terms, as found"), rows)


def commands() -> str:
    """One section per command: its help, arguments and options."""
    import typer

    text = ""
    for path, command in _leaves(typer.main.get_command(app), "rectitude"):
        rows = [_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        text += f"\n## {path}\n\n{_help(command.help or '')}\n\n" + _table(("", "default", "meaning"), rows)
    return text


def _leaves(command: Any, path: str) -> list[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        return [(path, command)]
    return [leaf for name, below in command.commands.items() for leaf in _leaves(below, f"{path} {name}")]


def _help(text: str) -> str:
    """The help text with its examples as a block."""
    before, examples, after = re.split(r"^(Examples?:.*)$", text.replace("\b", ""), maxsplit=1, flags=re.MULTILINE)
    return f"{before.strip()}\n\n{examples}\n\n```sh\n{dedent(after.strip(chr(10)))}\n```"


def _parameter(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        name = parameter.make_metavar(None) if parameter.metavar else parameter.name.upper()
    else:
        name = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    shown = "" if callable(default) or default is None or default is False or parameter.required else f"`{default}`"
    return name, "required" if parameter.required else shown, " ".join((getattr(parameter, "help", "") or "").split())
