"""A finished federation in figures: what ``metrics.json`` holds and the report shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rectitude.federated import privacy
from rectitude.federated.frontier import Figures, figures
from rectitude.federated.plan import Plan

if TYPE_CHECKING:
    from rectitude.federated.app import Progress


def judged(plan: Plan, progress: Progress, stage: int) -> Figures:
    """What a stage's method does on test rows."""
    measured = progress.evaluation(stage, "test")
    return figures(plan.stages[stage].method, "", measured, plan.criterion)


def summarise(
    plan: Plan, progress: Progress, found: Sequence[Figures], cost: tuple[float, float], engine: str
) -> dict[str, Any]:
    """The run in figures; the first seven keys are those that others build on."""
    last = found[-1]
    exchanges = [row for row in progress.traffic if row.kind != "evaluate"]
    by_stage = {}
    for number, stage in enumerate(plan.stages):
        rows = [row for row in exchanges if row.stage == number]
        by_stage[stage.method] = {
            "rounds": len({row.round for row in rows}),
            "exchanges": len(rows),
            "bytes_up_per_exchange": float(np.mean([row.up for row in rows])) if rows else 0.0,
            "bytes_down_per_exchange": float(np.mean([row.down for row in rows])) if rows else 0.0,
            "client_cpu_per_exchange": float(np.median([row.client_cpu for row in rows])) if rows else 0.0,
            "server_cpu_per_exchange": float(np.median([row.server_cpu for row in rows])) if rows else 0.0,
            "seconds_per_exchange": float(np.median([row.seconds for row in rows])) if rows else 0.0,
        }
    summary: dict[str, Any] = {
        "accuracy": last.accuracy[0],
        "global_gap": last.global_gap[0],
        "local_gap_max": last.local_gap_max,
        "local_gap_mean": last.local_gap_mean,
        "clients": plan.problem.n_clients,
        "rounds": sum(stage["rounds"] for stage in by_stage.values()),
        "bytes_per_client": round(sum(row.up for row in progress.traffic)),
        "bytes_received_per_client": round(sum(row.down for row in progress.traffic)),
        "method": plan.stages[-1].method,
        "criterion": plan.criterion,
        "fold": "test",
        "groups": list(plan.problem.groups),
        "classes": list(plan.problem.classes),
        "local_gap_max_by_chance": last.by_chance[0],
        "local_gap_max_by_chance_interval": list(last.by_chance[1:]),
        "local_gaps": dict(zip(plan.problem.clients, last.local_gaps, strict=True)),
        "accuracy_interval": list(last.accuracy[1:]),
        "global_gap_interval": list(last.global_gap[1:]),
        "engine": engine,
        "seconds": cost[0],
        "cpu_seconds": cost[1],
        "stages": by_stage,
        "secure_aggregation": plan.secure,
    }
    if len(found) > 1:
        summary["base"] = found[0].json()
    if plan.noise is not None:
        from rectitude.federated.app import releases

        spent = privacy.epsilon(releases(plan, progress.traffic), plan.noise, plan.delta)
        exact = {
            declared.name
            for method in plan.methods
            for wire in method.wire
            for declared in wire.up
            if not privacy.is_noised(declared)
        }
        summary["privacy"] = {
            "epsilon": spent,
            "delta": plan.delta,
            "noise_multiplier": plan.noise,
            "not_covered": sorted(exact),
        }
    return summary


def finite(value: Any) -> Any:
    """The same with null for what is no number: JSON has no NaN."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
