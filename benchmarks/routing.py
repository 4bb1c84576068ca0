"""Routing measured: clauses of the feedback suite, speed, the server's overhead, cost and quality on LLMRouterBench.

    python benchmarks/routing.py --out ../routing.jsonl                       # everything that is not there yet
    python benchmarks/routing.py --out ../routing.jsonl --only speed server
    python benchmarks/routing.py --out ../routing.jsonl --write docs/systems/llm_routing.md

Each measurement is one JSON line with a stamp; what the file holds is not measured again. Data is looked for in
RECTITUDE_DATA/llm-models.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.clauses import Atom, Clause
from rectitude.decisions.routing.conversation import revise
from rectitude.decisions.routing.importing import read_catalogue
from rectitude.decisions.routing.parsing.rules import parse_rules
from rectitude.decisions.routing.problem import Policy, build_problem
from rectitude.decisions.routing.router import Router
from rectitude.decisions.routing.suite import Score, read_gold, score

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "tests" / "decisions" / "routing" / "feedback.toml"
LATER = ("second fold", "third fold", "fourth fold")
"""Held out until they had been measured once; what was found then is said on the page."""
FRESH = SUITE.with_name("feedback_fresh.toml")
WAYS = ("terse", "polite", "negated", "comparative", "turns")
FEEDBACK = "cheap, must see images, not OpenAI, at least 100k context, newer than GPT-5, prompt caching"
CLOSED = {"Claude-v4", "Gemini-Flash", "Gemini-Pro", "GPT-5", "GPT-5-Chat"}


def folder() -> Path:
    return Path(os.environ["RECTITUDE_DATA"]) / "llm-models"


def folds() -> Iterator[tuple[tuple[str, ...], list[str], list[str]]]:
    """Every text of the suite: the rows of the table it counts in, its gold clauses, its turns."""
    suite, more = (tomllib.loads(path.read_text(encoding="utf-8")) for path in (SUITE, FRESH))
    for number, intent in enumerate(suite["intent"], start=1):
        for place, way in enumerate(WAYS):
            fold = "held out" if number % 5 == place else "development"
            yield (fold, f"{fold}, {way}"), intent["gold"], intent[way] if way == "turns" else [intent[way]]
    for intent, *texts in zip(suite["intent"], more["fresh"], more["last"], more["final"], strict=True):
        for name, text in zip(LATER, texts, strict=True):
            yield (name,), intent["gold"], [text]
    for intent, *texts in zip(more["relative"], more["last_relative"], more["final_relative"], strict=True):
        said = [("development", text) for text in intent["development"]]
        said += [(LATER[0], text) for text in intent["held_out"]]
        for name, text in [*said, *zip(LATER[1:], texts, strict=True)]:
            yield (f"against a model, {name}",), intent["gold"], [text]


def clauses() -> dict[str, Any]:
    """Precision, recall and F1 of the rule parser on its development and its held-out paraphrases."""
    catalogue = read_catalogue(folder() / "models25.parquet")
    router = Router(catalogue)
    scores: dict[str, Score] = {}
    violations = decided = 0
    for names, meant, turns in folds():
        gold = [read_gold(text) for text in meant]
        force: list[Clause] = []
        for turn, text in enumerate(turns):
            parsed = parse_rules(text, catalogue.names, has_last=turn > 0)
            force, _ = revise(force, parsed.clauses, parsed.retracted)
        for name in names:
            scores[name] = scores.get(name, Score(0, 0, 0, 0, 0)) + score(force, gold)
        decision = router.route(turns)
        if decision.chosen is not None:
            decided += 1
            hard = [c for c in read_grounded(gold, catalogue) if c.kind == "hard"]
            problem = build_problem(catalogue, hard, policy=Policy(defaults=False))
            violations += not problem.feasible[catalogue.row(decision.chosen)]
    told = {
        name: {"precision": s.precision, "recall": s.recall, "f1": s.f1, "whole": s.whole / s.texts, "texts": s.texts}
        for name, s in scores.items()
    }
    return {"scores": told, "decided": decided, "hard_violations_of_gold": violations}


def read_grounded(gold: list[Clause], catalogue: Catalogue) -> list[Clause]:
    from rectitude.decisions.routing.catalogue import Request
    from rectitude.decisions.routing.grounding import ground

    return ground(gold, catalogue, Request())[0]


def milliseconds(work: Callable[[], Any], repeats: int = 200) -> dict[str, float]:
    """Median, 10th and 95th percentile of wall time, and median of CPU time."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        before, began = time.process_time(), time.perf_counter()
        work()
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - before))
    low, high = np.quantile(wall, [0.1, 0.95])
    return {
        "wall": statistics.median(wall),
        "wall_10": float(low),
        "wall_95": float(high),
        "cpu": statistics.median(cpu),
    }


def speed() -> dict[str, Any]:
    """Brute force over 5,000 rows; RC2's five best of 25."""
    from rectitude.decisions.routing.maxsat import best_models

    table = pl.read_parquet(folder() / "models_dev.parquet")
    extra = table.head(5000 - len(table)).with_columns(pl.col("provider") + "-again")
    rows = build_catalogue(pl.concat([table, extra]).to_dicts(), lenient=True)
    router = Router(rows)
    wishes = [c for c in router.route(FEEDBACK).problem.clauses if c.origin == "feedback"]

    def brute() -> None:
        problem = build_problem(rows, wishes)
        problem.best(5)

    small = read_catalogue(folder() / "models25.parquet")
    decision = Router(small).route("cheap, smart, prompt caching, recent, no OpenAI, at least 100k context")
    return {
        "rows": len(rows),
        "clauses": len(wishes),
        "brute": milliseconds(brute),
        "whole": milliseconds(lambda: router.route(FEEDBACK)),
        "parse": milliseconds(lambda: parse_rules(FEEDBACK, rows.names)),
        "rc2_top5": milliseconds(lambda: best_models(decision.problem, k=5)),
        "rc2_models": len(small),
        "rc2_clauses": len(decision.problem.clauses),
    }


STUB = """
import sys; sys.path.insert(0, sys.argv[1])
from routing_upstream import Upstream
import uvicorn
up = Upstream(); up.wait_for = int(sys.argv[3])
uvicorn.run(up.app(), port=int(sys.argv[2]), log_level="critical", ws="none")
"""


def server() -> dict[str, Any]:
    """What the server adds to a proxied call, and 200 streams at once; each party is a process of its own."""
    import asyncio
    import tempfile

    import httpx

    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"X-Route-Feedback": "cheap, must see images"}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "router.toml"
        for name, port, wait in (("calls", 8461, 0), ("streams", 8463, 200)):
            config.write_text(f'[providers.openrouter]\nbase_url = "http://127.0.0.1:{port}/v1"\n')
            stub = subprocess.Popen([sys.executable, "-c", STUB, str(SUITE.parent), str(port), str(wait)])
            words = [
                "route",
                "serve",
                "--catalog",
                str(folder() / "models25.parquet"),
                "--config",
                str(config),
                "--port",
                str(port + 1),
            ]
            proxy = subprocess.Popen([sys.executable, "-m", "rectitude", *words], stdout=subprocess.DEVNULL)
            direct, routed = (f"http://127.0.0.1:{p}/v1/chat/completions" for p in (port, port + 1))
            try:
                wait_for(f"http://127.0.0.1:{port + 1}/health")
                wait_for(f"http://127.0.0.1:{port}/")
                if name == "calls":
                    found |= overhead(httpx.Client(), direct, routed, body, headers, proxy.pid)
                else:
                    began = time.perf_counter()
                    texts = asyncio.run(many(routed, {**body, "stream": True}, headers, 200))
                    found["streams"] = sum(text.rstrip().endswith("[DONE]") for text in texts)
                    found["streams_seconds"] = time.perf_counter() - began
            finally:
                proxy.terminate()
                stub.terminate()
                proxy.wait()
                stub.wait()
    return found


def wait_for(address: str) -> None:
    import httpx

    for _ in range(600):
        try:
            httpx.get(address)
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"{address} does not answer")


def processor_seconds(process: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def overhead(
    client: Any, direct: str, routed: str, body: Any, headers: Any, router: int, calls: int = 600
) -> dict[str, float]:
    """Medians of calls that alternate between the two, so that both see the same machine; and the router's CPU time."""
    times: dict[str, list[float]] = {direct: [], routed: []}
    used = 0.0
    for number in range(2 * calls + 40):
        if number == 40:
            used = processor_seconds(router)
        url = (direct, routed)[number % 2]
        began = time.perf_counter()
        client.post(url, json=body, headers=headers).raise_for_status()
        if number >= 40:
            times[url].append(1000 * (time.perf_counter() - began))
    cpu = 1000 * (processor_seconds(router) - used) / calls
    one, other = statistics.median(times[direct]), statistics.median(times[routed])
    quick = [float(np.quantile(times[url], 0.1)) for url in (direct, routed)]
    load = os.getloadavg()[0]
    return {
        "direct_ms": one,
        "routed_ms": other,
        "added_ms": other - one,
        "router_cpu_ms": cpu,
        "added_10_ms": quick[1] - quick[0],
        "load": load,
    }


async def many(url: str, body: Any, headers: Any, count: int) -> list[str]:
    import asyncio

    import httpx

    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as client:
        answers = await asyncio.gather(*(client.post(url, json=body, headers=headers) for _ in range(count)))
        return [answer.text for answer in answers]


# ---- LLMRouterBench ------------------------------------------------------------------------------------------------


def flagship() -> dict[str, Any]:
    """Accuracy and cost of ways to choose among 13 models on 10 data sets, leave one data set out.

    For each data set the router sees accuracy and cost of the other nine only, as q.mean and job_cost, and wishes as
    below; it is then charged the accuracy and cost of its choice on the data set left out.
    """
    accuracy = pl.read_parquet(folder() / "llmrouterbench_accuracy_13flagship.parquet")
    cost = pl.read_parquet(folder() / "llmrouterbench_cost_13flagship.parquet")
    models = accuracy["model"].to_list()
    sets = accuracy.columns[1:]
    acc, usd = accuracy.select(sets).to_numpy().astype(float), cost.select(sets).to_numpy().astype(float)
    ways: dict[str, Callable[[np.ndarray, np.ndarray, Catalogue], int]] = {
        "cheapest": lambda _a, c, _: int(np.nanargmin(c)),
        "best average": lambda a, _c, _: int(np.nanargmax(a)),
        "weighted sum": lambda a, c, _: int(np.nanargmax(a / 100 - c / np.nanmax(c))),
    }
    for name, text in WISHES.items():
        ways[f"router: {name}"] = lambda _a, _c, catalogue, text=text: catalogue.row(str(choose(catalogue, text)))
    chosen: dict[str, list[int]] = {way: [] for way in ways}
    for left in range(len(sets)):
        kept = [place for place in range(len(sets)) if place != left]
        a, c = np.nanmean(acc[:, kept], axis=1), np.nansum(usd[:, kept], axis=1)
        rows = [
            {"model": name, "q.known": a[m], "job_cost": c[m], "open_weights": name not in CLOSED, "vision": None}
            for m, name in enumerate(models)
        ]
        catalogue = build_catalogue(rows)
        for way, pick in ways.items():
            chosen[way].append(pick(a, c, catalogue))
    columns = np.arange(len(sets))
    told = {way: outcome(acc[rows, columns], usd[rows, columns]) for way, rows in chosen.items()}
    told["random"] = outcome(np.nanmean(acc, axis=0), np.nanmean(usd, axis=0))
    told["oracle per data set"] = outcome(np.nanmax(acc, axis=0), usd[np.nanargmax(acc, axis=0), columns])
    return {"ways": told, "models": len(models), "sets": len(sets), "wishes": WISHES}


WISHES = {
    "quality": "best quality",
    "quality and cost": "smart and cheap",
    "cheap first": "cheap first, then smart",
    "open": "open weights required, smart",
}


def choose(catalogue: Catalogue, text: str) -> str | None:
    """Our router on words; price means the cost measured for the whole job here."""
    parsed = parse_rules(text, catalogue.names)
    wishes = [
        c.model_copy(update={"any": tuple(Atom(attr="job_cost", op=a.op) if a.attr == "price" else a for a in c.any)})
        for c in parsed.clauses
    ]
    return Router(catalogue, Policy(defaults=False)).route(clauses=wishes).chosen


def outcome(accuracy: np.ndarray, cost: np.ndarray) -> dict[str, float]:
    known = ~np.isnan(accuracy)
    return {"accuracy": float(accuracy[known].mean()), "cost": float(np.nansum(cost)), "sets": int(known.sum())}


def small20() -> dict[str, Any]:
    """Accuracy among 20 small models on 15 data sets, leave one data set out; no costs are published for these."""
    table = pl.read_parquet(folder() / "llmrouterbench_accuracy_20small.parquet")
    models, sets = table["model"].to_list(), table.columns[1:]
    acc = table.select(sets).to_numpy().astype(float)
    picked, average = [], []
    for left in range(len(sets)):
        a = np.delete(acc, left, axis=1).mean(axis=1)
        catalogue = build_catalogue([{"model": name, "q.known": a[m]} for m, name in enumerate(models)])
        name = Router(catalogue, Policy(defaults=False)).route("best quality").chosen
        picked.append(acc[catalogue.row(str(name)), left])
        average.append(acc[int(np.argmax(a)), left])
    return {
        "random": float(acc.mean()), "best average": float(np.mean(average)), "router: quality": float(np.mean(picked)),
        "best single, all sets": float(acc.mean(axis=1).max()), "oracle per data set": float(acc.max(axis=0).mean()),
    }  # fmt: skip


def hidden() -> dict[str, Any]:
    """Mean regret on the whole table when 10, 30 or 50 % of the cells are hidden, by unknown policy."""
    full = read_catalogue(folder() / "models25.parquet")
    suite = tomllib.loads(SUITE.read_text(encoding="utf-8"))
    texts = [intent["terse"] for intent in suite["intent"]]
    rng = np.random.default_rng(0)
    told: dict[str, dict[str, list[float]]] = {}
    for share in (0.1, 0.3, 0.5):
        for _ in range(5):
            hide = {name: np.where(rng.random(len(full)) < share, np.nan, v) for name, v in full.ordered.items()}
            from dataclasses import replace

            partial = replace(full, ordered=hide)
            for policy in ("deny", "allow", "expect"):
                weigh = Policy(unknown_soft=policy, unknown_hard="allow")  # type: ignore[arg-type]
                for text in texts:
                    wishes = read_grounded(parse_rules(text, full.names).clauses, full)
                    truth = build_problem(full, wishes)
                    if not truth.feasible.any():
                        continue
                    row = int(build_problem(partial, wishes, policy=weigh).best(1)[0])
                    cell = told.setdefault(f"{share:.0%}", {}).setdefault(policy, [])
                    cell.append(max(0.0, float(truth.regret[row])) + float(not truth.feasible[row]))
    return {share: {p: float(np.mean(v)) for p, v in cells.items()} for share, cells in told.items()}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "clauses": clauses, "speed": speed, "server": server, "flagship": flagship, "small20": small20, "hidden": hidden,
}  # fmt: skip


def stamp() -> dict[str, Any]:
    from rectitude.core.about import __version__

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return {"rectitude": __version__, "python": platform.python_version(), "cpu": cpu, "cores": os.cpu_count()}


def held(path: Path) -> dict[str, dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {entry["part"]: entry for entry in map(json.loads, lines)}


def render(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Tables of the page by the name of their place."""
    out: dict[str, str] = {}
    if "clauses" in found:
        rows = [
            "| paraphrases | texts | precision | recall | F1 | texts read exactly |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for name, s in found["clauses"]["scores"].items():
            rows.append(
                f"| {name} | {s['texts']} | {s['precision']:.3f} | {s['recall']:.3f} | {s['f1']:.3f} | "
                f"{s['whole']:.1%} |"
            )
        violated, decided = found["clauses"]["hard_violations_of_gold"], found["clauses"]["decided"]
        out["clauses"] = (
            "\n".join(rows) + f"\n\nOf {decided} decisions that named a model, {violated} break a hard gold clause."
        )
    if "speed" in found:
        s = found["speed"]
        rows = [
            "| what | CPU, median | wall, median | wall, 10 % | wall, 95 % |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        named = {"brute": f"brute force, {s['rows']:,} rows, {s['clauses']} wishes",
            "whole": "the same from words to explanation",
                 "parse": "reading the words", "rc2_top5": f"RC2, five best of {s['rc2_models']}, "
                                                           f"{s['rc2_clauses']} clauses"}  # fmt: skip
        rows += [
            f"| {words} | {s[k]['cpu']:.2f} ms | {s[k]['wall']:.2f} ms | {s[k]['wall_10']:.2f} ms | "
            f"{s[k]['wall_95']:.2f} ms |"
            for k, words in named.items()
        ]
        out["speed"] = "\n".join(rows)
    if "server" in found:
        s = found["server"]
        out["server"] = (
            f"A call straight to a stub takes {s['direct_ms']:.2f} ms at the median, through the router "
            f"{s['routed_ms']:.2f} ms: it adds "
            f"**{s['added_ms']:.2f} ms**; of the quickest tenth of calls each way, {s['added_10_ms']:.2f} ms. The "
            f"router's process used **{s['router_cpu_ms']:.2f} ms** of CPU time a call. "
            f"The machine's load "
            f"was {s['load']:.0f} on {s['stamp']['cores']} cores. {s['streams']} of 200 streams that were all "
            f"open at once ended whole."
        )
    if "flagship" in found:
        rows = ["| way | accuracy, mean of 10 sets | cost, USD |", "| --- | ---: | ---: |"]
        ways = sorted(found["flagship"]["ways"].items(), key=lambda entry: entry[1]["accuracy"])
        rows += [f"| {way} | {s['accuracy']:.2f} | {s['cost']:.1f} |" for way, s in ways]
        out["flagship"] = "\n".join(rows)
    if "small20" in found:
        rows = ["| way | accuracy, mean of 15 sets |", "| --- | ---: |"]
        rows += [f"| {way} | {v:.2f} |" for way, v in found["small20"].items() if isinstance(v, float)]
        out["small20"] = "\n".join(rows)
    if "hidden" in found:
        rows = ["| hidden | deny | allow | expect |", "| --- | ---: | ---: | ---: |"]
        rows += [
            f"| {share} | {c['deny']:.3f} | {c['allow']:.3f} | {c['expect']:.3f} |"
            for share, c in found["hidden"].items()
            if isinstance(c, dict) and "deny" in c
        ]
        out["hidden"] = "\n".join(rows)
    if found:
        s = next(iter(found.values()))["stamp"]
        out["stamp"] = (
            f"Rectitude {s['rectitude']}, Python {s['python']}, {s['cpu']}, {s['cores']} cores shared with other work."
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, outside the repository")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="parts to measure")
    parser.add_argument("--again", action="store_true", help="measure also what the file holds")
    parser.add_argument("--write", type=Path, help="page whose <!-- name --> … <!-- end --> blocks are replaced")
    given = parser.parse_args()
    found = held(given.out)
    for name in given.only or ([] if given.write else list(PARTS)):
        if name in found and not given.again:
            continue
        entry = {"part": name, **PARTS[name](), "stamp": stamp()}
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        found[name] = entry
        print(name, json.dumps(entry)[:400])
    if given.write:
        page = given.write.read_text(encoding="utf-8")
        for name, table in render(found).items():
            page = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL
            )
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
