from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rectitude.core.errors import ConfigError, RectitudeError, RunError
from rectitude.data.dataset import Dataset
from rectitude.data.split import SplitConfig, split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.evaluation.store import read_evaluation
from rectitude.training.run import Run
from rectitude.workflow import compare, evaluate, export, fit
from rectitude.workflow.judging import evaluation_file


@pytest.fixture(scope="module")
def table(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "clicks.csv"
    columns = {
        "user_id": tiny.users["user_id"].gather(tiny.interactions["user"]),
        "item_id": tiny.items["item_id"].gather(tiny.interactions["item"]),
        "timestamp": tiny.interactions["timestamp"],
    }
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.fixture(scope="module")
def ease(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "ease"
    return fit(table, "ease", settings={"l2": 5}, out=out, progress=False).path


@pytest.fixture(scope="module")
def popularity(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(table, "popularity", out=tmp_path_factory.mktemp("runs") / "popularity", progress=False).path


@pytest.fixture
def copy(ease: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ease, tmp_path / "copy"))


# ---- evaluate ----------------------------------------------------------------------------------------------------


def test_the_test_fold_is_judged_and_written_into_the_run(copy: Path) -> None:
    card, report = (copy / "README.md").read_text(), (copy / "report.html").read_text()
    judged = evaluate(copy)
    run = Run.load(copy)
    metrics = run.folder.read_json("metrics.json")
    assert metrics.keys() == {"valid", "test"}
    assert metrics["test"] == judged.to_dict()
    assert metrics["test"]["protocol"]["fold"] == "test"
    assert metrics["test"]["protocol"]["data"] == run.config["data"]["hash"]
    assert (copy / "README.md").read_text() != card
    assert (copy / "report.html").read_text() != report
    assert f"{judged.mean('ndcg@10'):.3f}"[1:] in (copy / "README.md").read_text()
    kept = read_evaluation(evaluation_file(run, "test"))
    assert (kept.lists == judged.lists).all()
    assert kept.protocol == judged.protocol


def test_the_figures_are_those_of_the_evaluator_on_the_test_fold(copy: Path) -> None:
    run = Run.load(copy)
    divided = run.split(run.dataset())
    with divided.opened():
        expected = evaluate_fold(run.model, divided.test)
    judged = evaluate(run, "test")
    assert judged.per_user.keys() == expected.per_user.keys()
    assert all((judged.per_user[name] == expected.per_user[name]).all() for name in expected.per_user)
    valid = evaluate(run, "valid")
    assert (valid.per_user["ndcg@10"] != judged.per_user["ndcg@10"]).any()


def test_cut_offs_and_masking_are_as_asked(copy: Path) -> None:
    judged = evaluate(copy, ks=(3,), mask_seen=False)
    assert judged.lists.shape[1] == 3
    assert "ndcg@3" in judged.per_user
    assert judged.protocol["seen_items"] == "ranked"
    with pytest.raises(ConfigError, match="There is no fold 'tets'"):
        evaluate(copy, "tets")  # type: ignore[arg-type]


def test_changed_data_are_refused_naming_both_hashes(copy: Path, tiny: Dataset, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    hash_of_run = Run.load(copy).config["data"]["hash"]
    fewer = tiny.subset(pl.Series(range(tiny.n_interactions)) != 3)
    for data in (fewer, tiny):  # neither what was trained on nor a part of it
        for refused in (
            lambda data=data: evaluate(copy, data=data),
            lambda data=data: export(copy, tmp_path / "lists.parquet", data=data),
        ):
            with pytest.raises(RunError, match="The data has changed") as caught:
                refused()
            assert hash_of_run in str(caught.value)
            assert data.hash in str(caught.value)
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before
    assert not (tmp_path / "lists.parquet").exists()


def test_a_run_trained_on_its_validation_part_has_only_a_test_fold(table: Path, tmp_path: Path) -> None:
    config = SplitConfig(train_on_valid=True)
    run = fit(table, "popularity", split=config, out=tmp_path / "run", progress=False)
    assert run.folder.read_json("metrics.json") == {}
    with pytest.raises(ConfigError, match="trained on the validation part too"):
        evaluate(run, "valid")
    assert evaluate(run).mean("ndcg@10") > 0


# ---- export --------------------------------------------------------------------------------------------------------


def ndcg_by_hand(lists: pl.DataFrame, truth: pl.DataFrame, k: int) -> float:
    """NDCG from the two tables and nothing else."""
    held_out: dict[str, set[str]] = {}
    for user, item in truth.iter_rows():
        held_out.setdefault(user, set()).add(item)
    gains = dict.fromkeys(held_out, 0.0)
    for user, rank, item, _ in lists.iter_rows():
        if rank <= k and item in held_out[user]:
            gains[user] += 1 / np.log2(rank + 1)
    ideal = {user: sum(1 / np.log2(j + 2) for j in range(min(k, len(items)))) for user, items in held_out.items()}
    return float(np.mean([gains[user] / ideal[user] for user in held_out]))


@pytest.mark.parametrize("rule", ["leave-one-out", "ratio"])
def test_figures_are_recomputed_from_an_export(table: Path, tmp_path: Path, rule: Any) -> None:
    config = SplitConfig(rule=rule, test_share=0.3)
    run = fit(table, "ease", settings={"l2": 5}, split=config, out=tmp_path / "run", progress=False)
    judged = export(run, tmp_path / "lists.parquet", truth=tmp_path / "truth.parquet")
    lists, truth = pl.read_parquet(tmp_path / "lists.parquet"), pl.read_parquet(tmp_path / "truth.parquet")
    assert lists.columns == ["user_id", "rank", "item_id", "score"]
    assert truth.columns == ["user_id", "item_id"]
    assert lists["rank"].max() == 20
    for k in (5, 10, 20):
        assert ndcg_by_hand(lists, truth, k) == pytest.approx(judged.mean(f"ndcg@{k}"), abs=1e-9)
    assert "test" not in run.folder.read_json("metrics.json")
    evaluate(run)
    reported = run.folder.read_json("metrics.json")["test"]["metrics"]["ndcg@10"]["value"]
    assert ndcg_by_hand(lists, truth, 10) == pytest.approx(reported, abs=1e-9)


BY_RANX = """
import json, sys
import polars as pl
import ranx

lists, truth = (pl.read_parquet(path) for path in sys.argv[1:])
ranking, relevant = {}, {}
for user, rank, item, _ in lists.iter_rows():
    ranking.setdefault(user, {})[item] = 1.0 / rank  # ranx has its own order for equal scores
for user, item in truth.iter_rows():
    relevant.setdefault(user, {})[item] = 1
found = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(ranking), ["ndcg@10", "recall@10", "mrr@10"])
print(json.dumps({metric: float(value) for metric, value in found.items()}))
"""


@pytest.mark.slow
def test_figures_are_recomputed_from_an_export_by_ranx(ease: Path, tmp_path: Path) -> None:
    pytest.importorskip("ranx", reason="the independent metrics are not installed")
    lists, truth = tmp_path / "lists.parquet", tmp_path / "truth.parquet"
    judged = export(ease, lists, truth=truth)
    # Compiling ranx takes minutes and running it as plain Python takes none.
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", BY_RANX, str(lists), str(truth)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for metric, value in json.loads(done.stdout).items():
        assert value == pytest.approx(judged.mean(metric), abs=1e-9)


def test_an_export_is_in_the_data_s_own_ids_and_holds_no_seen_item(ease: Path, table: Path, tmp_path: Path) -> None:
    export(ease, tmp_path / "lists.parquet", truth=tmp_path / "truth.parquet", k=7)
    lists, truth = pl.read_parquet(tmp_path / "lists.parquet"), pl.read_parquet(tmp_path / "truth.parquet")
    events = pl.read_csv(table)
    assert lists["rank"].max() == 7
    assert lists.group_by("user_id").agg(pl.col("rank").n_unique())["rank"].unique().to_list() == [7]
    last = events.group_by("user_id", maintain_order=True).last().select("user_id", "item_id").sort("user_id")
    assert truth.sort("user_id").equals(last)
    seen = events.join(truth, on=["user_id", "item_id"], how="anti")
    assert lists.join(seen, on=["user_id", "item_id"], how="semi").is_empty()
    for _, scores in lists.sort("user_id", "rank").group_by("user_id"):
        assert scores["score"].is_sorted(descending=True)


def test_an_export_of_the_validation_fold(ease: Path, tmp_path: Path) -> None:
    judged = export(ease, tmp_path / "l.parquet", truth=tmp_path / "t.parquet", fold="valid", k=10)
    recomputed = ndcg_by_hand(pl.read_parquet(tmp_path / "l.parquet"), pl.read_parquet(tmp_path / "t.parquet"), 10)
    assert recomputed == pytest.approx(judged.mean("ndcg@10"), abs=1e-9)
    assert judged.protocol["fold"] == "valid"


# ---- compare -------------------------------------------------------------------------------------------------------


def test_runs_are_compared_on_the_same_people(ease: Path, popularity: Path) -> None:
    said: list[str] = []
    result = compare([ease, popularity], announce=said.append)
    assert list(result.values) == ["ease", "popularity"]
    assert {row.metric for row in result.rows} == {"ndcg@10", "recall@10", "mrr@10"}
    ours, theirs = (read_evaluation(evaluation_file(Run.load(path), "test")) for path in (ease, popularity))
    row = next(row for row in result.rows if row.metric == "ndcg@10")
    assert row.effect.value == pytest.approx(ours.mean("ndcg@10") - theirs.mean("ndcg@10"))
    assert row.effect.value > 0
    assert row.p <= row.p_adjusted < 0.05
    assert sum("has not been judged on the test fold yet" in note for note in said) <= 2
    again: list[str] = []
    compare([ease, popularity], announce=again.append)
    assert again == []  # judged once


def test_a_baseline_by_name_or_by_place(ease: Path, popularity: Path) -> None:
    for baseline in ("popularity", str(popularity)):
        result = compare([Run.load(ease), popularity], metrics=["ndcg@5"], baseline=baseline, fold="valid")
        assert [(row.first, row.second) for row in result.rows] == [("ease", "popularity")]
    with pytest.raises(ConfigError, match=r"Unknown baseline 'popularty'.*Did you mean 'popularity'"):
        compare([ease, popularity], baseline="popularty", fold="valid")


def test_runs_of_the_same_name_are_told_apart_by_place(ease: Path, copy: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(ease, tmp_path / "other" / "ease"))
    result = compare([ease, twin], fold="valid", metrics=["ndcg@10"])
    assert list(result.values) == [str(ease), str(twin)]
    assert result.rows[0].p == 1.0
    with pytest.raises(ConfigError, match="The same run is named twice"):
        compare([ease, ease])
    with pytest.raises(ConfigError, match="at least two runs"):
        compare([ease])


def test_runs_judged_otherwise_are_not_compared(copy: Path, popularity: Path, table: Path, tmp_path: Path) -> None:
    evaluate(copy, "valid", mask_seen=False)
    with pytest.raises(RectitudeError, match="'seen_items' is ranked for one and left out for the other"):
        compare([copy, popularity], fold="valid")
    other = fit(table, "popularity", split="temporal", out=tmp_path / "temporal", progress=False)
    with pytest.raises(RectitudeError, match=r"not evaluated alike: 'split' is .*leave-one-out.*temporal"):
        compare([popularity, other], fold="valid")
    rows = pl.read_csv(table)
    fewer = fit(rows.head(len(rows) - 20), "popularity", out=tmp_path / "fewer", progress=False)
    with pytest.raises(RectitudeError, match="not evaluated alike: 'data' is "):
        compare([popularity, fewer], fold="valid")


def test_a_damaged_evaluation_is_named(copy: Path, popularity: Path) -> None:
    (copy / "evaluation-valid.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RunError, match=r"The evaluation cannot be read.*rectitude evaluate"):
        compare([copy, popularity], fold="valid")


def test_folds_stay_sealed_after_all_this(ease: Path) -> None:
    run = Run.load(ease)
    divided = run.split(run.dataset())
    assert divided.protocol() == split(run.dataset(), divided.config).protocol()
    with pytest.raises(RectitudeError, match="sealed"):
        _ = divided.test
