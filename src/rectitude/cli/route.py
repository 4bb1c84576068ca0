"""``rectitude route``: which language model should answer, and why that one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.command import Verb, Verbs
from rectitude.cli.console import emit, grid, line, plural, show, tell
from rectitude.cli.route_judging import audit, priors
from rectitude.cli.route_options import (
    CatalogueFile,
    FreePrices,
    Needs,
    PolicyFile,
    PriceUnit,
    TokensIn,
    TokensOut,
    Unknown,
    catalogue_of,
    policy_of,
    request_of,
)

if TYPE_CHECKING:
    from rectitude.decisions.routing.catalogue import Catalogue
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
    """Choose a model for what is wished for, and say why. The word 'ask' may be left out.

    Examples:
      rectitude route ask "cheap, must see images, not Google" --catalog models.csv
      rectitude route ask "half the price of GPT-5" --catalog models.csv --tokens-in 8000 --tokens-out 900 --json
      rectitude route ask "cheap" "forget the price, good at coding" --catalog models.csv --why-not gpt-5
    """
    from rectitude.decisions.routing.router import Router

    known = catalogue_of(catalog, price_unit, free_prices)
    router = Router(known, policy_of(policy, unknown_soft=unknown, delta=delta, k=k))
    request = request_of(tokens_in, tokens_out, needs)
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
    _show_models(decision, count)
    show(f"{plural(told['feasible_models'], 'model')} of {len(problem.catalogue):,} meet every hard wish")
    for entry in told["price_of_hard"]:
        show(entry["says"])
    for entry in told.get("correction_sets", ()):
        show(f"Possible {entry['says']}")
    if decision.status == "infeasible":
        show("How little the limits must give way: rectitude route negotiate, with the same wishes")
    if "why_not" in told:
        show(told["why_not"]["says"])
    for question in told["questions"]:
        show(f"Question: {question}")
    for note in told["notes"]:
        tell(note)


def _show_models(decision: Decision, count: int) -> None:
    """The best models, each at its best provider only."""
    table = grid("model", "value", "regret", "breaks", right=(1, 2), wrap=(3,))
    shown: dict[str, None] = {}
    for ranked in decision.ranking:
        bare = ranked.model.casefold().rpartition("/")[2].rpartition(":")[2]
        if bare in shown or len(shown) == count:
            continue  # the same model at another provider
        shown[bare] = None
        table.add_row(ranked.model, f"{ranked.value:.2f}", f"{ranked.regret:.3f}", ", ".join(ranked.violates) or "–")
    show(table, "")


@route.command("cascade", cls=Verb)
def cascade(
    feedback: Annotated[list[str], typer.Argument(metavar="FEEDBACK…", help="What is wished for.")],
    catalog: CatalogueFile,
    size: Annotated[int, typer.Option("--size", min=1, max=10, metavar="N", help="Most models in the set.")] = 3,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="Most they may cost together, in --price-of.")
    ] = None,
    price_of: Annotated[
        Literal["price", "job_cost"],
        typer.Option("--price-of", help="What the budget is in: per million tokens, or per request."),
    ] = "price",
    providers: Annotated[int, typer.Option("--providers", min=1, metavar="N", help="Fewest different providers.")] = 1,
    cover: Annotated[
        list[str] | None,
        typer.Option("--cover", metavar="WISH", help="Must hold for some member: 'vision is true', 'q.code >= 70'."),
    ] = None,
    most: Annotated[int, typer.Option("--sets", min=1, metavar="N", help="How many sets to name.")] = 1,
    tokens_in: TokensIn = None,
    tokens_out: TokensOut = None,
    policy: PolicyFile = None,
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    as_json: options.Json = False,
) -> None:
    """Choose several models at once: a cascade or a fall-back list, within a budget, covering what must be covered.

    Example:
      rectitude route cascade "good at coding, cheap" --catalog models.csv --size 3 --budget 5 --cover "vision is true"
    """
    from rectitude.decisions.routing.router import Router
    from rectitude.decisions.routing.sets import SetWish, choose_sets, describe_set
    from rectitude.decisions.routing.suite import read_gold

    router = Router(catalogue_of(catalog, price_unit, free_prices), policy_of(policy))
    decision = router.route(feedback, request=request_of(tokens_in, tokens_out, ""))
    covered = tuple(read_gold(f"hard {each}").any[0] for each in cover or ())
    wish = SetWish(size=size, budget=budget, price_of=price_of, providers=providers, cover=covered)
    found = [describe_set(decision.problem, wish, each) for each in choose_sets(decision.problem, wish, most)]
    if as_json:
        emit({"sets": found, **{k: v for k, v in decision.to_dict().items() if k in ("clauses", "unparsed", "stamp")}})
        return
    for entry in found:
        if not entry["models"]:
            show("No set of models meets every hard wish, the budget and the coverage")
            continue
        table = grid("", "model", "is in it for")
        for place, member in enumerate(entry["models"], start=1):
            table.add_row(str(place), member["model"], ", ".join(member["carries"]) or "fall-back")
        price = "unknown" if entry["price"] is None else f"{entry['price']:g} USD ({entry['price_of']})"
        show(table, f"value {entry['value']:g} of {entry['most']:g}, together {price}, {entry['status']}", "")


@route.command("negotiate", cls=Verb)
def negotiate(
    feedback: Annotated[list[str], typer.Argument(metavar="FEEDBACK…", help="What is wished for.")],
    catalog: CatalogueFile,
    free: Annotated[
        str, typer.Option("--free", metavar="ID,…", help="Limits that may give way, by clause id; all if not given.")
    ] = "",
    tighten: Annotated[
        str, typer.Option("--tighten", metavar="ATTR,…", help="Attributes to make as good as can be: price, q.code, …")
    ] = "",
    tokens_in: TokensIn = None,
    tokens_out: TokensOut = None,
    policy: PolicyFile = None,
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    as_json: options.Json = False,
) -> None:
    """Find the limits that can be had: how little must give way, and how tight the others can be.

    Example:
      rectitude route negotiate "must see images, price under $0.10, at least 1M context" --catalog models.csv
    """
    from rectitude.decisions.routing.router import Router
    from rectitude.decisions.routing.smt import describe_bargain
    from rectitude.decisions.routing.smt import negotiate as bargain

    router = Router(catalogue_of(catalog, price_unit, free_prices), policy_of(policy))
    problem = router.route(feedback, request=request_of(tokens_in, tokens_out, "")).problem
    found = bargain(problem, options.id_list(free) or None, options.id_list(tighten))
    told = describe_bargain(problem, found)
    if as_json:
        emit({**told, "clauses": [clause.to_dict() for clause in problem.clauses]})
        return
    if found.row is None:
        show("No limits help: other hard wishes stand in the way" if found.status == "infeasible" else "z3 timed out")
        return
    show(str(told["model"]), "")
    table = grid("", "limit", "wished", "can be had", right=(2, 3))
    for entry in told["limits"]:
        table.add_row(entry["clause"], entry["says"], str(entry["wished"]), str(entry["reached"]))
    for name, value in told["tightened"].items():
        table.add_row("", f"{name} as good as can be", "", str(value))
    show(table)


@route.command("serve", cls=Verb)
def serve(
    catalog: CatalogueFile,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="Providers, keys' variables, policies (TOML or JSON).")
    ],
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Port; 0 takes a free one.")
    ] = 8400,
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    as_json: options.Json = False,
) -> None:
    """Serve OpenAI's chat protocol: model "auto" is routed, forwarded, and streamed back.

    Example:
      rectitude route serve --catalog models.csv --config router.toml --port 8400
    """
    from rectitude.decisions.routing.serving.config import read_server_config
    from rectitude.decisions.routing.serving.run import listen, run_server

    known, settings = catalogue_of(catalog, price_unit, free_prices), read_server_config(config)
    app, notes = _app(known, settings)
    for note in notes:
        tell(note)
    listener = listen(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    if as_json:
        emit({"address": address, "models": len(app.state.service.catalogue)})
    else:
        line(f"Serving {plural(len(app.state.service.catalogue), 'model')} at {address}/v1")
    import sys

    sys.stdout.flush()
    run_server(app, listener)


def _app(known: Catalogue, settings: Any) -> tuple[Any, list[str]]:
    from rectitude.core.errors import MissingExtraError

    try:
        from rectitude.decisions.routing.serving.app import create_app
    except ImportError as error:
        raise MissingExtraError(str(error.name), "route", "The router's server") from error
    app = create_app(known, settings)
    return app, app.state.service.notes


route.command("audit", cls=Verb)(audit)
route.command("priors", cls=Verb)(priors)


@route.command("import", cls=Verb)
def import_catalogue(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Catalogue of litellm, models.dev, or a table.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write: .csv or .json.")],
    form: Annotated[
        Literal["table", "litellm", "models.dev"] | None,
        typer.Option("--format", help="What SOURCE is, if not found out."),
    ] = None,
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    as_json: options.Json = False,
) -> None:
    """Turn a public catalogue into a table of our attributes, prices per million tokens, unknown cells left empty.

    Example:
      rectitude route import model_prices_and_context_window.json --out models.csv
    """
    from rectitude.core.errors import ConfigError
    from rectitude.decisions.routing.importing import read_catalogue
    from rectitude.decisions.routing.writing import write_catalogue

    if out.suffix not in (".csv", ".json"):
        raise ConfigError(f"A catalogue is written as .csv or .json, not '{out.suffix}'", where="--out")
    found = read_catalogue(source, form=form, price_unit=price_unit, free_prices=free_prices)
    write_catalogue(found, out)
    known = {name: round(share, 4) for name, share in found.completeness().items()}
    if as_json:
        emit({"out": str(out), "models": len(found), "hash": found.hash, "known": known, "notes": list(found.notes)})
        return
    for note in found.notes:
        tell(note)
    table = grid("attribute", "known", right=(1,))
    for name, share in sorted(known.items(), key=lambda entry: -entry[1]):
        table.add_row(name, f"{share:.0%}")
    show(f"{plural(len(found), 'model')} of {found.source}", "", table, "")
    line(f"Catalogue  {out}")
