"""Options that several verbs share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rectitude.core.errors import ConfigError

Rule = Literal["leave-one-out", "temporal", "ratio", "cold-user", "cold-item", "column"]
FoldName = Literal["valid", "test"]

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="Known set (ml-100k), folder with interactions.parquet, or one table file."),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Model; 'rectitude models' lists them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, all else on standard error.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="PART=NAME,…",
        help="Which column is what, e.g. user=customer,item=sku,timestamp=day; 'rating=' leaves a part out.",
    ),
]
Duplicates = Annotated[
    Literal["error", "drop", "keep"] | None,
    typer.Option("--duplicates", help="What to do with rows that repeat user, item and time."),
]
MinRating = Annotated[
    float | None, typer.Option("--min-rating", metavar="R", help="Keep only interactions rated at least R.")
]
KCore = Annotated[
    int | None,
    typer.Option("--k-core", metavar="K", min=1, help="Keep only users and items with at least K interactions."),
]
Separator = Annotated[
    str | None, typer.Option("--separator", metavar="S", help="Between the fields of a text file ('\\t' is a tab).")
]
Encoding = Annotated[str, typer.Option("--encoding", metavar="NAME", help="Of text files, e.g. latin-1.")]
Format = Annotated[
    Literal["table", "sequences", "atomic", "parquet"] | None,
    typer.Option("--format", help="Form of the file, where its looks deceive."),
]
TimeFormat = Annotated[
    str | None, typer.Option("--time-format", metavar="PATTERN", help="Of times written as text, e.g. '%d/%m/%Y'.")
]
Ties = Annotated[
    Literal["auto", "file", "scramble"] | None,
    typer.Option(
        "--ties", help="Order of events of one user at one time: as in the file, scrambled, or auto (the default)."
    ),
]
Content = Annotated[
    list[str] | None,
    typer.Option(
        "--content",
        metavar="PLACE",
        help="Item vectors to read: a folder that 'encode' made, a .npz or .npy file, or name=file; may be repeated.",
    ),
]
Split = Annotated[
    Rule | None,
    typer.Option("--split", help="How to divide the data; its own split column, else leave-one-out, if not given."),
]
SplitSet = Annotated[
    list[str] | None,
    typer.Option(
        "--split-set", metavar="K=V", help="Setting of the split: valid_share, test_share, seed, train_on_valid."
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Model settings as a TOML or JSON table.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="K=V", help="One model setting; may be given many times.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")]
MovedData = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="Where the data of the run is now, if it has moved.")
]


def reading(
    columns: list[str] | None = None,
    duplicates: str | None = None,
    min_rating: float | None = None,
    k_core: int | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    form: str | None = None,
    time_format: str | None = None,
    ties: str | None = None,
    content: list[str] | None = None,
) -> dict[str, Any]:
    """The options of ``rectitude.load`` from those of the command line.

    Raises:
        ConfigError: ``--columns`` is not a list of ``part=name``.
    """
    return {
        "columns": parse_columns(columns),
        "duplicates": duplicates,
        "min_rating": min_rating,
        "k_core": k_core,
        "separator": "\t" if separator == "\\t" else separator,
        "encoding": encoding,
        "format": form,
        "time_format": time_format,
        "ties": ties,
        "content": content,
    }


def parse_columns(given: list[str] | None) -> dict[str, str | None] | None:
    """``["user=customer,item=sku", "rating="]`` as a column map; an empty name leaves the part out.

    Raises:
        ConfigError: An entry has no ``=``.
    """
    if not given:
        return None
    columns: dict[str, str | None] = {}
    for entry in ",".join(given).split(","):
        part, equals, name = entry.partition("=")
        if not equals or not part.strip():
            raise ConfigError(
                f"'{entry}' names no column", where="--columns", fix="Write it as part=name, e.g. user=customer"
            )
        columns[part.strip()] = name.strip() or None
    return columns


def layers(config: Path | None, assignments: list[str] | None) -> dict[str, dict[str, Any]]:
    """Model settings by where they came from, weakest first.

    Raises:
        ConfigError: The file or an assignment cannot be read.
    """
    from rectitude.core.config import parse_assignments, read_config

    found: dict[str, dict[str, Any]] = {}
    if config is not None:
        found[f"--config {config}"] = read_config(config)
    if assignments:
        found["--set"] = parse_assignments(assignments)
    return found


def split_settings(rule: str | None, assignments: list[str] | None) -> dict[str, Any] | None:
    """The split as a configuration, None where the data should decide.

    Raises:
        ConfigError: Settings are given without a rule, or one cannot be read.
    """
    from rectitude.core.config import parse_assignments

    if rule is None:
        if assignments:
            raise ConfigError("--split-set needs a rule", where="--split-set", fix="Add --split temporal, for example")
        return None
    return {"rule": rule, **parse_assignments(assignments or (), where="--split-set")}


def id_list(text: str, separator: str = ",") -> list[str]:
    """``"50, 172"`` as ``["50", "172"]``."""
    return [entry.strip() for entry in text.split(separator) if entry.strip()]
