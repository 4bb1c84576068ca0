"""What the verbs of ``rectitude route`` have in common: the catalogue, the request, the policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.console import tell

if TYPE_CHECKING:
    from rectitude.decisions.routing.catalogue import Catalogue, Request
    from rectitude.decisions.routing.problem import Policy

CatalogueFile = Annotated[
    Path,
    typer.Option("--catalog", metavar="FILE", help="Models: CSV, JSON or Parquet, or JSON of litellm or models.dev."),
]
PriceUnit = Annotated[
    Literal["token", "thousand", "million"] | None,
    typer.Option("--price-unit", help="Tokens that prices are for, where the column's name does not say it."),
]
FreePrices = Annotated[
    Literal["unknown", "free"], typer.Option("--free-prices", help="What a price of 0 means in the catalogue.")
]
TokensIn = Annotated[int | None, typer.Option("--tokens-in", min=0, metavar="N", help="Tokens of the prompt.")]
TokensOut = Annotated[int | None, typer.Option("--tokens-out", min=0, metavar="N", help="Tokens of the answer.")]
Needs = Annotated[
    str,
    typer.Option("--needs", metavar="FLAG,…", help="What the request needs: vision, tool_call, structured_output, …"),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="Standing wishes and settings as TOML or JSON.")
]
Unknown = Annotated[
    Literal["deny", "allow", "expect"] | None,
    typer.Option("--unknown", help="What an unknown cell counts as in soft wishes; 'expect' if not given."),
]


def request_of(tokens_in: int | None, tokens_out: int | None, needs: str) -> Request:
    """What is known of the request.

    Raises:
        ConfigError: A request cannot need such a thing.
    """
    from rectitude.core.errors import ConfigError, did_you_mean
    from rectitude.decisions.routing.attributes import ATTRIBUTES
    from rectitude.decisions.routing.catalogue import Request

    flags = [name for name, about in ATTRIBUTES.items() if about.kind == "flag"]
    wanted = options.id_list(needs)
    for name in wanted:
        if name not in flags:
            raise ConfigError(f"'{name}' is nothing a request can need", where="--needs", fix=did_you_mean(name, flags))
    return Request(tokens_in=tokens_in, tokens_out=tokens_out, needs=frozenset(wanted))


def policy_of(file: Path | None, **given: Any) -> Policy:
    """The policy of a file, with what the options say instead.

    Raises:
        ConfigError: A setting does not fit.
    """
    from rectitude.core.config import build, read_config
    from rectitude.decisions.routing.problem import Policy

    values = {} if file is None else read_config(file)
    values |= {key: value for key, value in given.items() if value is not None}
    return build(Policy, values, where=str(file) if file is not None else "options")


def catalogue_of(file: Path, price_unit: Any, free_prices: Any) -> Catalogue:
    """A catalogue; what was assumed of it is told.

    Raises:
        DataError: It cannot be used.
    """
    from rectitude.decisions.routing.importing import read_catalogue

    found = read_catalogue(file, price_unit=price_unit, free_prices=free_prices)
    for note in found.notes:
        tell(note)
    return found
