"""The forms of ``--json`` that other programs rely on, and what people are shown instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_line import SMALL, contents, table, untouched
from typer.testing import Result

from rectitude.data.dataset import Dataset

Cli = Callable[..., Result]
Answer = Callable[..., Any]


def test_fit_says_where_the_run_is_and_how_it_validates(answer: Answer, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = answer("fit", shop, "-m", "sasrec", *SMALL, "--set", "epochs=2", "--seed", 3, "--out", out)
    assert given["run"] == str(out)
    assert given["model"] == "sasrec"
    assert given["fold"] == given["protocol"]["fold"] == "valid"
    assert set(given["metrics"]["ndcg@10"]) == {"value", "low", "high"}
    assert given["training"]["epochs"] == 2
    assert given["seed"] == 3
    assert given["settings"]["epochs"] == {"value": 2, "origin": "--set"}
    assert given["settings"]["patience"]["origin"] == "default"
    assert given["data"]["hash"] == given["protocol"]["data"]
    assert (out / "report.html").is_file()


def test_fit_tells_people_settings_with_their_origin(cli: Cli, shop: Path, tmp_path: Path) -> None:
    settings = tmp_path / "sasrec.toml"
    settings.write_text("epochs = 1\nn_factors = 4\n")
    result = cli("fit", shop, "-m", "sasrec", "--config", settings, *SMALL, "--out", tmp_path / "run")
    told = " ".join(result.stderr.split())
    assert f"Settings by --config {settings}: epochs=1" in told
    assert "Settings by --set: n_factors=8, n_blocks=1, n_negatives=16" in told or "n_factors=8" in told
    assert "Settings by default:" in told
    assert "SASRec on shop: 60 people, 40 items" in told
    assert "Trained in" in told
    assert "judged in" in told
    assert f"Run     {tmp_path / 'run'}" in result.stdout
    assert "NDCG" in result.stdout


def test_fit_says_what_was_guessed_about_columns(cli: Cli, tiny: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    table(tiny).rename({"user": "Customer ID", "item": "sku", "timestamp": "date"}).write_csv(path)
    result = cli("fit", path, "-m", "popularity", "--duplicates", "keep", "--out", tmp_path / "run")
    assert "user = 'Customer ID', item = 'sku', timestamp = 'date'" in " ".join(result.stderr.split())


def test_fit_names_its_run_after_data_model_and_seed(
    answer: Answer, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert answer("fit", shop, "-m", "ease", "--seed", 7)["run"] == str(Path("runs") / "shop-ease-s7")


@pytest.mark.parametrize("rule", ["temporal", "ratio"])
def test_fit_splits_by_the_rule_given(rule: str, answer: Answer, shop: Path, tmp_path: Path) -> None:
    given = answer(
        *("fit", shop, "-m", "popularity", "--out", tmp_path / "run"),
        *("--split", rule, "--split-set", "valid_share=0.2", "--split-set", "test_share=0.15"),
    )
    assert given["split"] == given["protocol"]["split"]
    assert (given["split"]["rule"], given["split"]["valid_share"], given["split"]["test_share"]) == (rule, 0.2, 0.15)


def test_fit_uses_the_split_column_of_the_data(answer: Answer, tiny: Dataset, tmp_path: Path) -> None:
    position = pl.int_range(pl.len()).over("user", order_by="timestamp")
    part = pl.when(position % 4 == 3).then(pl.lit("test")).when(position % 4 == 2).then(pl.lit("tune"))
    table(tiny).with_columns(part.otherwise(pl.lit("train")).alias("split")).write_parquet(tmp_path / "log.parquet")
    given = answer("fit", tmp_path / "log.parquet", "-m", "ease", "--duplicates", "keep", "--out", tmp_path / "run")
    assert given["split"]["rule"] == "column"


def test_fit_without_a_validation_fold_has_no_figures(cli: Cli, answer: Answer, shop: Path, tmp_path: Path) -> None:
    words = ("fit", shop, "-m", "ease", "--split", "leave-one-out", "--split-set", "train_on_valid=true")
    assert answer(*words, "--out", tmp_path / "one")["metrics"] == {}
    assert "Run  " in cli(*words, "--out", tmp_path / "two").stdout


def test_fit_with_filters(answer: Answer, shop: Path, tmp_path: Path) -> None:
    every = answer("fit", shop, "-m", "popularity", "--out", tmp_path / "a")["data"]["interactions"]
    given = answer("fit", shop, "-m", "popularity", "--out", tmp_path / "b", "--min-rating", 3, "--k-core", 2)
    assert given["data"]["interactions"] < every
    assert given["data"]["source"]["options"] == {"min_rating": 3.0, "k_core": 2}


def test_evaluate_prints_protocol_and_metrics_only(answer: Answer, runs: Path) -> None:
    given = answer("evaluate", runs / "ease")
    assert set(given) == {"protocol", "metrics"}
    assert given["protocol"]["fold"] == "test"
    assert all(set(figure) == {"value", "low", "high"} for figure in given["metrics"].values())
    assert given["metrics"]["coverage@10"]["low"] is None
    assert answer("evaluate", runs / "ease", "--fold", "valid")["protocol"]["fold"] == "valid"


def test_evaluate_finds_data_that_moved(
    answer: Answer, refusal: Callable[..., str], shop: Path, tmp_path: Path
) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    run = tmp_path / "run"
    answer("fit", tmp_path / "shop", "-m", "ease", "--out", run)
    figures = answer("evaluate", run)["metrics"]
    (tmp_path / "shop").rename(tmp_path / "moved")
    with untouched(run):
        assert "There is no such file" in refusal("evaluate", run)
    assert answer("evaluate", run, "--data", tmp_path / "moved")["metrics"] == figures
    assert answer("export", run, "--data", tmp_path / "moved", "--out", tmp_path / "lists.parquet")["users"] == 60


def test_recommend_prints_query_answered_by_and_items_only(answer: Answer, runs: Path) -> None:
    given = answer("recommend", runs / "ease", "--user", "u3", "-k", 4)
    assert set(given) == {"query", "answered_by", "items"}
    assert given["query"]["user"] == "u3"
    assert given["answered_by"] == "EASE"
    assert [set(item) for item in given["items"]] == [{"rank", "item_id", "score", "title"}] * 4
    assert [item["rank"] for item in given["items"]] == [1, 2, 3, 4]
    assert given["items"][0]["title"] == f"Title {given['items'][0]['item_id'][1:]}"


def test_recommend_by_history_and_by_titles_is_the_same(answer: Answer, runs: Path) -> None:
    by_ids = answer("recommend", runs / "ease", "--history", "i3, i10", "-k", 3)
    by_titles = answer("recommend", runs / "ease", "--titles", "title 3 ; Title 10", "-k", 3)
    assert by_ids == by_titles
    assert by_ids["query"]["history"] == ["i3", "i10"]
    assert not {"i3", "i10"} & {item["item_id"] for item in by_ids["items"]}


def test_recommend_seen_items_only_when_asked_and_only_what_is_allowed(
    cli: Cli, answer: Answer, runs: Path, tmp_path: Path
) -> None:
    (tmp_path / "allowed.txt").write_text("i3\ni4\n\ni5\nnonsense\n")
    only = ("--only", tmp_path / "allowed.txt")
    without = answer("recommend", runs / "ease", "--history", "i3", *only)
    seen_too = answer("recommend", runs / "ease", "--history", "i3", *only, "--include-seen")
    assert {item["item_id"] for item in without["items"]} == {"i4", "i5"}
    assert {item["item_id"] for item in seen_too["items"]} == {"i3", "i4", "i5"}
    assert "unknown and were left out: nonsense" in cli("recommend", runs / "ease", "--history", "i3", *only).stderr


def test_recommend_says_when_the_model_did_not_answer(cli: Cli, answer: Answer, runs: Path) -> None:
    given = answer("recommend", runs / "ease", "--history", "unheard")
    assert given["answered_by"].startswith("popularity (")
    assert "answered by popularity (" in cli("recommend", runs / "ease", "--history", "unheard").stdout


def test_export_gives_metrics_back(answer: Answer, runs: Path, tmp_path: Path) -> None:
    lists, truth = tmp_path / "lists.parquet", tmp_path / "truth.parquet"
    given = answer("export", runs / "ease", "--out", lists, "--truth", truth, "-k", 7)
    assert (given["out"], given["truth"], given["k"], given["users"]) == (str(lists), str(truth), 7, 60)
    told = pl.read_parquet(lists)
    assert told.columns == ["user_id", "rank", "item_id", "score"]
    assert given["rows"] == len(told)
    assert told["rank"].max() == 7
    held_out = pl.read_parquet(truth)
    assert held_out.columns == ["user_id", "item_id"]
    found = held_out.join(told, on=["user_id", "item_id"], how="left").filter(pl.col("rank") <= 5)
    ndcg = float((1 / np.log2(found["rank"].to_numpy() + 1)).sum()) / len(held_out)
    assert ndcg == pytest.approx(answer("evaluate", runs / "ease")["metrics"]["ndcg@5"]["value"], abs=1e-12)


def test_export_leaves_the_usual_figures_in_the_run(cli: Cli, answer: Answer, runs: Path, tmp_path: Path) -> None:
    cli("export", runs / "ease", "--out", tmp_path / "lists.parquet", "-k", 3)
    assert answer("compare", runs / "ease", runs / "popularity")["metrics"]["ease"]["ndcg@10"]["value"] > 0


def test_compare_has_figures_and_paired_tests(cli: Cli, answer: Answer, runs: Path) -> None:
    given = answer("compare", runs / "popularity", runs / "ease", "--metrics", "ndcg@10,recall@5")
    assert set(given) == {"protocol", "metrics", "tests"}
    assert set(given["metrics"]) == {"popularity", "ease"}
    assert set(given["metrics"]["ease"]) == {"ndcg@10", "recall@5"}
    (row,) = [test for test in given["tests"] if test["metric"] == "ndcg@10"]
    difference = given["metrics"]["popularity"]["ndcg@10"]["value"] - given["metrics"]["ease"]["ndcg@10"]["value"]
    assert row["effect"]["value"] == pytest.approx(difference)
    assert row["p_adjusted"] >= row["p"]
    told = cli("compare", runs / "popularity", runs / "ease", "--baseline", "popularity").stdout
    assert "p (Holm)" in told
    assert "all 3 tests" in " ".join(told.split())


def test_compare_judges_what_has_not_been_judged(cli: Cli, runs: Path, shop: Path, tmp_path: Path) -> None:
    cli("fit", shop, "-m", "ease", "--set", "l2=10", "--out", tmp_path / "other")
    assert "other has not been judged on the test fold yet" in cli("compare", runs / "ease", tmp_path / "other").stderr


def test_report_prints_a_path_and_nothing_else(cli: Cli, answer: Answer, runs: Path) -> None:
    path = str((runs / "ease" / "report.html").resolve())
    assert cli("report", runs / "ease", width=40).stdout == path + "\n"
    assert answer("report", runs / "ease")["report"] == path


def test_tune_searches_and_its_file_is_a_configuration(cli: Cli, answer: Answer, shop: Path, tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    words = ("tune", shop, "-m", "sasrec", *SMALL, "--set", "epochs=1", "--set", "n_heads=2", "--trials", 2)
    result = cli(*words, "--out", best)
    assert "Trial 2 of 2: ndcg@10 " in result.stderr
    assert result.stdout.splitlines()[-1] == f"Next    rectitude fit {shop} -m sasrec --config {best}"
    given = answer(*words)
    assert set(given) == {"model", "data", "split", "seed", "best", "value", "metric", "trials"}
    assert given["best"]["n_factors"] == 8
    assert len(given["trials"]) == 2
    fitted = answer("fit", shop, "-m", "sasrec", "--config", best, "--out", tmp_path / "run")
    assert fitted["metrics"]["ndcg@10"]["value"] == pytest.approx(given["value"], abs=1e-9)
    assert fitted["settings"]["dropout"]["origin"] == f"--config {best}"


def test_data_list_get_describe_import(
    cli: Cli, answer: Answer, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shop, tmp_path / "sets" / "ml-100k")
    monkeypatch.setenv("RECTITUDE_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("RECTITUDE_CACHE", str(tmp_path / "cache"))
    listed = {entry["name"]: entry for entry in answer("data", "list")["sets"]}
    assert listed["ml-100k"]["availability"] == "at hand"
    assert listed["ml-1m"]["availability"] == "can be fetched"
    assert "GroupLens" in listed["ml-100k"]["terms"]
    got = answer("data", "get", "ml-100k")
    assert got["origin"] == "RECTITUDE_DATA"
    assert got["location"] == str(tmp_path / "sets" / "ml-100k")
    assert "Terms" in cli("data", "get", "ml-100k").stdout

    described = answer("data", "describe", shop)
    assert (described["users"], described["items"]) == (60, 40)
    assert described["time"]["kind"] == "timestamp"
    assert "Ratings" in cli("data", "describe", shop).stdout
    assert "Terms: GroupLens" in " ".join(cli("data", "describe", "ml-100k").stderr.split())

    imported = answer("data", "import", shop, "--out", tmp_path / "own", "--min-rating", 2)
    assert imported["out"] == str(tmp_path / "own")
    assert answer("data", "describe", tmp_path / "own")["hash"] == imported["hash"]


def test_models_and_every_setting_of_each(cli: Cli, answer: Answer) -> None:
    listed = answer("models")["models"]
    assert {"popularity", "ease", "sasrec"} <= {model["name"] for model in listed}
    told = " ".join(cli("models").stdout.split())
    for model in listed:
        assert model["paper"].split(",")[0] in told
        assert "" not in {setting["meaning"] for setting in answer("models", model["name"])["settings"]}
    (dropout,) = [setting for setting in answer("models", "sasrec")["settings"] if setting["name"] == "dropout"]
    assert dropout["accepts"] == "number ≥ 0 and < 1"
    assert dropout["searched"]
    shown = " ".join(cli("models", "sasrec").stdout.split())
    assert "'rectitude tune' searches learning_rate" in shown
    assert "It has no settings" in cli("models", "popularity").stdout


def test_doctor_tells_what_is_here(cli: Cli, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECTITUDE_CACHE", str(tmp_path / "cache"))
    given = answer("doctor", "--out", tmp_path / "runs")
    assert set(given) == {"versions", "machine", "torch", "data", "extras", "folders", "problems"}
    assert given["problems"] == []
    assert "cpu" in given["torch"]["devices"]
    assert given["folders"][str(tmp_path / "runs")] is True
    assert given["extras"]["tune"] == {"optuna": True}
    assert contents(tmp_path) == {}
    assert "Nothing stands in the way" in cli("doctor", "--out", tmp_path / "runs").stdout


def test_doctor_names_what_stands_in_the_way(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("doctor", "--out", tmp_path / "file" / "runs", code=1)
    assert "The folder for runs cannot be written" in " ".join(result.stdout.split())


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_figure_is_cut_off_in_a_narrow_terminal(width: int, cli: Cli, answer: Answer, runs: Path) -> None:
    shown = cli("evaluate", runs / "ease", width=width).stdout
    assert max(map(len, shown.split("Report")[0].splitlines())) <= width
    for metric, figure in answer("evaluate", runs / "ease")["metrics"].items():
        places = 2 if metric.startswith("novelty") else 4
        assert f"{figure['value']:.{places}f}" in shown
        if figure["low"] is not None and not metric.startswith("novelty"):
            assert f"{figure['low']:.3f}–{figure['high']:.3f}" in shown
