"""``rectitude data``: the known sets, and data of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.command import Verb
from rectitude.cli.console import emit, facts, grid, line, plural, show, tell, terminal_width

if TYPE_CHECKING:
    from rectitude.data.dataset import Dataset

data = typer.Typer(help="List, fetch, describe and import data.", no_args_is_help=True)

_MOST_COLUMNS = 12
"""Columns of a table that are named on one line."""
_WIDE = 110
"""Columns a terminal needs for a table with sentences in it."""


@data.command("list", cls=Verb)
def list_sets(as_json: options.Json = False) -> None:
    """List the sets known by name.

    Example:
      rectitude data list
    """
    from rectitude.data.catalogue import availability, known_sets

    sets = known_sets()
    if as_json:
        emit(
            {
                "sets": [
                    {
                        "name": known.name,
                        "what": known.what,
                        "users": known.users,
                        "items": known.items,
                        "interactions": known.interactions,
                        "availability": availability(known),
                        "terms": known.terms,
                        "citation": known.citation,
                        "address": known.address,
                    }
                    for known in sets
                ]
            }
        )
        return
    narrow = terminal_width() < _WIDE
    table = grid(
        "name", "here?", "people", "items", "events", *([] if narrow else ["what"]), right=(2, 3, 4), wrap=(5,)
    )
    for known in sets:
        counts = (f"{count:,}" for count in (known.users, known.items, known.interactions))
        table.add_row(known.name, availability(known), *counts, *([] if narrow else [known.what]))
    show(table, "")
    if narrow:
        show(facts({known.name: known.what for known in sets}), "")
    show("at hand: in RECTITUDE_DATA.  by hand: 'rectitude data describe NAME' says where to get it and on what terms.")


@data.command("get", cls=Verb)
def get_set(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a known set.")], as_json: options.Json = False
) -> None:
    """Fetch a known set if it is not here yet.

    Example:
      rectitude data get ml-100k
    """
    from rectitude.data.catalogue import get, known_set

    dataset = get(name, announce=tell)
    known, source = known_set(name), dataset.source
    if as_json:
        emit(
            {
                **_counts(dataset),
                "location": source["location"],
                "origin": source["origin"],
                "terms": source["terms"],
                "citation": known.citation,
                "notes": list(dataset.notes),
            }
        )
        return
    show(_headline(dataset))
    line(f"Folder  {source['location']}")
    show(facts({"Terms ": source["terms"], "Cite  ": known.citation}))


@data.command("describe", cls=Verb)
def describe_data(
    data: options.Data,
    columns: options.Columns = None,
    duplicates: options.Duplicates = None,
    min_rating: options.MinRating = None,
    k_core: options.KCore = None,
    separator: options.Separator = None,
    encoding: options.Encoding = "utf-8",
    form: options.Format = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = None,
    as_json: options.Json = False,
) -> None:
    """Say what is in data, what was guessed and what was dropped.

    Examples:
      rectitude data describe ml-100k
      rectitude data describe ratings.csv --columns user=customer,item=sku
    """
    from rectitude.data.describe import describe
    from rectitude.data.known import CATALOGUE
    from rectitude.data.readers import load

    how = options.reading(columns, duplicates, min_rating, k_core, separator, encoding, form, time_format, ties)
    if data in CATALOGUE:
        _tell_terms(data)
    dataset = load(data, announce=tell, **how)
    summary = describe(dataset)
    if as_json:
        emit(summary)
        return
    show(_headline(dataset), facts(_described(summary)))


def _tell_terms(name: str) -> None:
    """Before anything is fetched: whether the set can be had or not, these are its terms."""
    from rectitude.data.known import known_set

    known = known_set(name)
    tell(f"{known.name}: {known.what}. Terms: {known.terms}. From {known.address}")


@data.command("import", cls=Verb)
def import_own(
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="New, empty, or imported before.")],
    columns: options.Columns = None,
    duplicates: options.Duplicates = None,
    min_rating: options.MinRating = None,
    k_core: options.KCore = None,
    separator: options.Separator = None,
    encoding: options.Encoding = "utf-8",
    form: options.Format = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = None,
    as_json: options.Json = False,
) -> None:
    """Read data of any form and save them as Parquet tables.

    Example:
      rectitude data import ratings.csv --columns user=customer,item=sku --out shop
    """
    from rectitude.data.catalogue import import_data

    how = options.reading(columns, duplicates, min_rating, k_core, separator, encoding, form, time_format, ties)
    dataset = import_data(data, out, announce=tell, **how)
    if as_json:
        emit({**_counts(dataset), "out": str(out), "notes": list(dataset.notes)})
        return
    show(_headline(dataset))
    line(f"Folder  {out}")


def _counts(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "hash": dataset.hash,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": dataset.n_interactions,
    }


def _headline(dataset: Dataset) -> str:
    return (
        f"{dataset.name}: {plural(dataset.n_users, 'person', 'people')}, {plural(dataset.n_items, 'item')}, "
        f"{plural(dataset.n_interactions, 'interaction')}"
    )


def _described(summary: dict[str, Any]) -> dict[str, str]:
    time, source = summary["time"], summary["source"]
    told = {
        "Density": f"{100 * summary['density']:.3g} % of all pairs of person and item",
        "Per person": _spread(summary["per_user"]),
        "Per item": _spread(summary["per_item"]),
        "Order": time["kind"],
    }
    if "first" in time:
        told["Time"] = f"{time['first'][:10]} to {time['last'][:10]} ({time['days']:,.0f} days)"
    if "ratings" in summary:
        told["Ratings"] = ", ".join(f"{entry['rating']:g}: {entry['interactions']:,}" for entry in summary["ratings"])
    for table, columns in summary["columns"].items():
        names = [
            column["name"] + (f" ({column['missing']:,} missing)" if column["missing"] else "") for column in columns
        ]
        more = f" and {len(names) - _MOST_COLUMNS} more" if len(names) > _MOST_COLUMNS else ""
        told[table.capitalize()] = ", ".join(names[:_MOST_COLUMNS]) + more
    for name, shape in summary["content"].items():
        told[f"Content {name}"] = " x ".join(f"{size:,}" for size in shape)
    told["From"] = str(source["origin"])
    if source["terms"]:
        told["Terms"] = source["terms"]
    told["Hash"] = summary["hash"]
    return told


def _spread(quantiles: dict[str, float]) -> str:
    if not quantiles:
        return "nothing"
    return (
        f"{quantiles['min']:,.0f} to {quantiles['max']:,.0f} interactions, half of them have "
        f"{quantiles['median']:,.0f} or fewer, mean {quantiles['mean']:,.1f}"
    )
