"""``rectitude route``: which language model should answer, and why that one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.command import Verb, Verbs
from rectitude.cli.console import emit, grid, line, plural, show, tell

if TYPE_CHECKING:
    from rectitude.decisions.routing.catalogue import Catalogue, Request
    from rectitude.decisions.routing.problem import Policy
    from rectitude.decisions.routing.router import Decision

_DEFAULT = "ask"


class _Verbs(dict[str, Any]):
    """Commands by name; any other word is feedback for ``ask``."""

    def __missing__(self, word: str) -> Any:
        return self[_DEFAULT]


class Route(Verbs):
    """``rectitude route "cheap, sees images"`` is ``rectitude route ask "cheap, sees images"``."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.commands = _Verbs(self.commands)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``ask`` in front of what is neither a verb nor a request for help."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_DEFAULT, *args]
        return list(super().parse_args(ctx, args))


route = typer.Typer(cls=Route, help="Choose a language model by what is wished for.", no_args_is_help=True)

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


def _request(tokens_in: int | None, tokens_out: int | None, needs: str) -> Request:
    from rectitude.core.errors import ConfigError, did_you_mean
    from rectitude.decisions.routing.attributes import ATTRIBUTES
    from rectitude.decisions.routing.catalogue import Request

    flags = [name for name, about in ATTRIBUTES.items() if about.kind == "flag"]
    wanted = options.id_list(needs)
    for name in wanted:
        if name not in flags:
            raise ConfigError(f"'{name}' is nothing a request can need", where="--needs", fix=did_you_mean(name, flags))
    return Request(tokens_in=tokens_in, tokens_out=tokens_out, needs=frozenset(wanted))


def _policy(file: Path | None, **given: Any) -> Policy:
    from rectitude.core.config import build, read_config
    from rectitude.decisions.routing.problem import Policy

    values = {} if file is None else read_config(file)
    values |= {key: value for key, value in given.items() if value is not None}
    return build(Policy, values, where=str(file) if file is not None else "options")


def _catalogue(file: Path, price_unit: Any, free_prices: Any) -> Catalogue:
    from rectitude.decisions.routing.importing import read_catalogue

    found = read_catalogue(file, price_unit=price_unit, free_prices=free_prices)
    for note in found.notes:
        tell(note)
    return found


@route.command(_DEFAULT, cls=Verb)
def ask(
    feedback: Annotated[
        list[str],
        typer.Argument(metavar="FEEDBACK…", help="What is wished for; several texts are turns, oldest first."),
    ],
    catalog: CatalogueFile,
    tokens_in: TokensIn = None,
    tokens_out: TokensOut = None,
    needs: Needs = "",
    policy: PolicyFile = None,
    unknown: Unknown = None,
    delta: Annotated[
        float | None, typer.Option("--delta", metavar="D", help="Regret up to which a model is near-feasible; 0.1.")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, metavar="K", help="How many models to list; 5.")] = None,
    solver: Annotated[
        Literal["brute", "rc2", "z3"],
        typer.Option(
            "--solver", help="brute force, MaxSAT by RC2, or MaxSMT by z3 with unknown cells as free variables."
        ),
    ] = "brute",
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="MODEL", help="Explain why this model was not chosen.")
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", metavar="MODEL", help="Let this model read the feedback instead of the rules."),
    ] = None,
    llm_url: Annotated[
        str, typer.Option("--llm-url", metavar="URL", help="Its OpenAI-compatible server; key in OPENAI_API_KEY.")
    ] = "https://api.openai.com/v1",
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the decision as an HTML page.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Choose a model for what is wished for, and say why.

    Examples:
      rectitude route "cheap, must see images, not Google" --catalog models.csv
      rectitude route "at most half the price of GPT-5" --catalog models.csv --tokens-in 8000 --tokens-out 1000 --json
      rectitude route ask "cheap" "forget the price, good at coding" --catalog models.csv --why-not gpt-5
    """
    from rectitude.decisions.routing.router import Router

    known = _catalogue(catalog, price_unit, free_prices)
    router = Router(known, _policy(policy, unknown_soft=unknown, delta=delta, k=k))
    request = _request(tokens_in, tokens_out, needs)
    reader = _reader(llm, llm_url)
    decision = router.route(feedback, request=request, solver=solver, why_not=why_not, reader=reader)
    if report is not None:
        from rectitude.core.files import write_text
        from rectitude.decisions.routing.report import decision_report

        write_text(report, decision_report(decision))
    if as_json:
        emit(decision.to_dict())
        return
    _show(decision, k or router.policy.k)
    if report is not None:
        line(f"Report  {report}")


def _reader(model: str | None, url: str) -> Any:
    if model is None:
        return None
    from rectitude.decisions.routing.parsing.llm import LanguageModelReader

    return LanguageModelReader(model, url)


def _show(decision: Decision, count: int) -> None:
    """A decision for people."""
    problem, told = decision.problem, decision.explanation
    head = {
        "feasible": f"{decision.chosen}",
        "infeasible": "No model meets every hard wish",
        "contradictory": "The wishes contradict each other",
    }
    show(head[decision.status], "")
    wishes = grid("", "wish", "kind", "weight", right=(3,), wrap=(1,))
    for clause, weight in zip(problem.clauses, problem.weights, strict=True):
        if clause.origin == "default" or (clause.origin == "request" and clause.attrs == {"deprecated"}):
            continue
        said = "" if clause.kind == "hard" else f"{problem.points(weight):g}"
        wishes.add_row(clause.id, str(clause), clause.kind, said)
    if wishes.row_count:
        show(wishes, "")
    parsed = decision.parsed
    for name, spans in (("Not understood", parsed.unparsed), ("Not read", parsed.suspicious)) if parsed else ():
        if spans:
            show(f"{name}: " + "; ".join(f"'{decision.feedback[start:end]}'" for start, end in spans))
    table = grid("model", "value", "regret", "breaks", right=(1, 2), wrap=(3,))
    for ranked in decision.ranking[:count]:
        table.add_row(ranked.model, f"{ranked.value:.3f}", f"{ranked.regret:.3f}", ", ".join(ranked.violates) or "–")
    show(table, "")
    show(f"{plural(told['feasible_models'], 'model')} of {len(problem.catalogue):,} meet every hard wish")
    for entry in told["price_of_hard"]:
        show(entry["says"])
    for entry in told.get("correction_sets", ()):
        show(f"Possible {entry['says']}")
    if "why_not" in told:
        show(told["why_not"]["says"])
    for question in told["questions"]:
        show(f"Question: {question}")
    for note in told["notes"]:
        tell(note)
