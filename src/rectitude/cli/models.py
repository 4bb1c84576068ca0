"""``rectitude models``: what can be trained, and every setting of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, facts, grid, show

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from rectitude.models.base import Recommender


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show every setting of this model.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the models, or every setting of one.

    Examples:
      rectitude models
      rectitude models sasrec
    """
    from rectitude.models.registry import model_class, model_names

    if name is not None:
        _one(model_class(name), as_json=as_json)
        return
    known = [model_class(each) for each in model_names()]
    if as_json:
        emit({"models": [_about(model) for model in known]})
        return
    table = grid("name", "title", "reads", "new people", "new items", "trained by")
    for model in known:
        table.add_row(
            model.name,
            model.title,
            _reads(model),
            _yes(model.serves_new_users),
            _yes(model.serves_new_items),
            "gradient" if model.trained_by == "gradient" else "formula",
        )
    show(table, "", facts({model.name: model.paper for model in known}), "")
    show("'rectitude models NAME' shows every setting of a model.")


def _one(model: type[Recommender], *, as_json: bool) -> None:
    settings = [_setting(key, field, model) for key, field in model.Config.model_fields.items()]
    if as_json:
        emit({**_about(model), "settings": settings})
        return
    show(
        f"{model.title}: {(model.__doc__ or '').splitlines()[0].replace('``', '')}",
        "",
        facts(
            {
                "Paper": model.paper,
                "Reads": _reads(model),
                "Serves": "new people" if model.serves_new_users else "only people it was trained with",
                "Trained by": model.trained_by,
            }
        ),
        "",
    )
    if not settings:
        show("It has no settings.")
        return
    table = grid("setting", "default", "meaning", wrap=(2,))
    for entry in settings:
        table.add_row(entry["name"], _written(entry["default"]), f"{entry['meaning']} [{entry['accepts']}]")
    show(table)
    searched = [entry["name"] for entry in settings if entry["searched"]]
    if searched:
        show("", f"'rectitude tune' searches {', '.join(searched)}.")


def _about(model: type[Recommender]) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "reads": sorted(model.reads),
        "serves_new_users": model.serves_new_users,
        "serves_new_items": model.serves_new_items,
        "trained_by": model.trained_by,
        "content_needed": list(model.content_needed),
        "paper": model.paper,
    }


def _setting(key: str, field: FieldInfo, model: type[Recommender]) -> dict[str, Any]:
    schema = model.Config.model_json_schema()["properties"][key]
    return {
        "name": key,
        "default": field.get_default(call_default_factory=True),
        "accepts": _accepts(schema),
        "meaning": " ".join((field.description or "").split()),
        "searched": key in model.Config.search_space(),
    }


_TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "null"}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _accepts(schema: dict[str, Any]) -> str:
    """Type and range of a setting in words."""
    if "anyOf" in schema:
        return " or ".join(_accepts(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    kind = _TYPES.get(str(schema.get("type")), str(schema.get("type", "anything")))
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in _BOUNDS.items() if bound in schema]
    return f"{kind} {' and '.join(bounds)}".strip()


def _reads(model: type[Recommender]) -> str:
    return " and ".join(sorted(model.reads, reverse=True)) or "nothing"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
