"""Catalogues: forms, units, gaps, names."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rectitude.core.errors import ConfigError, DataError
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue, Request
from rectitude.decisions.routing.importing import read_catalogue
from rectitude.decisions.routing.writing import write_catalogue


def test_what_is_not_known_stays_unknown(small: Catalogue) -> None:
    row = small.row("mystery")
    assert small.value("vision", row) is None
    assert small.value("price_in", row) is None
    assert small.value("context", row) is None
    assert small.value("vision", small.row("qwen3-coder")) is None
    assert np.isnan(small.column("latency_ms")).all()


def test_price_is_of_the_tokens_of_the_request(small: Catalogue) -> None:
    row = small.row("gpt-5")
    assert small.value("price", row) == pytest.approx((3 * 1.25 + 10) / 4)
    asked = Request(tokens_in=8000, tokens_out=2000)
    assert small.value("price", row, asked) == pytest.approx((8 * 1.25 + 2 * 10) / 10)
    assert small.value("job_cost", row, asked) == pytest.approx((8000 * 1.25 + 2000 * 10) / 1e6)
    assert small.value("job_cost", row) is None


def test_family_maker_and_vendor_follow_from_names(small: Catalogue) -> None:
    assert small.value("family", small.row("claude-haiku-4.5")) == "claude"
    assert small.value("maker", small.row("qwen3-coder")) == "alibaba"
    assert small.value("vendor", small.row("openai/gpt-5")) == ["openai"]
    table, names = small.sets["vendor"]
    assert set(table[small.row("mystery")]) == {-1, 1}, "who made it is not known, who serves it is"
    assert "openai" in names


def test_names_are_found_as_people_write_them(small: Catalogue) -> None:
    assert small.row("GPT-5") == small.row("openai/gpt-5") == small.row("gpt 5")
    with pytest.raises(ConfigError, match="Did you mean 'mystery'"):
        small.row("mistery")


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("input_cost_per_token", 2e-6),
        ("price_in_per_1k", 0.002),
        ("cost_in", 2.0),
        ("price_in", "2"),
        ("price_in", "$2.00"),
    ],
)
def test_prices_are_per_million_whatever_the_column_says(column: str, cell: Any) -> None:
    catalogue = build_catalogue([{"model": "a", column: cell, "price_out": 4}])
    assert catalogue.value("price_in", 0) == pytest.approx(2)


@pytest.mark.parametrize("cell", [2e-6, 0.0004, 50_000])
def test_a_slipped_unit_is_refused_and_named(cell: float) -> None:
    with pytest.raises(DataError, match=r"cannot be the price of a: the unit has slipped.*--price-unit"):
        build_catalogue([{"model": "a", "price_in": cell}])
    if cell == 2e-6:
        assert build_catalogue([{"model": "a", "price_in": cell}], price_unit="token").value("price_in", 0) == 2


def test_a_price_of_zero_is_unknown_unless_it_is_called_free() -> None:
    rows = [{"model": "a", "price_in": 0, "price_out": 0}, {"model": "b:free", "price_in": 0, "price_out": 0},
            {"model": "c", "price_in": 0, "price_out": 1}]  # fmt: skip
    doubted, believed = build_catalogue(rows), build_catalogue(rows, free_prices="free")
    assert [doubted.value("price_in", row) for row in range(3)] == [None, 0, 0]
    assert believed.value("price_in", 0) == 0
    assert "A price of 0 is taken as not known (1 of 3 models)" in doubted.notes[0]
    assert ":free" in " ".join(doubted.notes)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no model"),
        ([{"name": "a"}], "no column 'model'"),
        ([{"model": ""}], "A model has no name"),
        ([{"model": "a"}, {"model": "a"}], "'a' is there more than once"),
        ([{"model": "a", "vision": "maybe"}], "'maybe' is not true, false or nothing"),
        ([{"model": "a", "context": "long"}], "'long' is not a number"),
        ([{"model": "a", "released": "2025-13-40"}], "not a date"),
        ([{"model": "a", "q.code": 170}], "not in 0 to 100"),
        ([{"model": "a", "price_in": -1}], "negative"),
    ],
)
def test_bad_tables_are_refused(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        build_catalogue(rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"model,context\na,1,2\n", "Line 2 has 3 fields"),
        ("a.csv", "model\nä".encode("latin-1"), "not UTF-8"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b'{"x": 1}', "no catalogue of a known form"),
        ("a.json", b"[1]", "must be a JSON object"),
        ("a.parquet", b"PAR1 cut", "not Parquet"),
        ("a.json.gz", gzip.compress(b"[]" * 100, mtime=0)[:20], "cannot be read"),
    ],
)
def test_bad_files_are_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_catalogue(tmp_path / name)


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "models.csv").write_text("model\na\n")
    with pytest.raises(DataError, match=r"Did you mean 'models.csv'"):
        read_catalogue(tmp_path / "model.csv")


def test_scores_of_different_sources_are_not_compared() -> None:
    rows = [{"model": f"m{i}", "q.code": 50 + i, "q.code.source": "x" if i < 3 else "y"} for i in range(4)]
    catalogue = build_catalogue(rows)
    assert catalogue.value("q.code", 3) is None
    assert catalogue.value("q.code", 0) == 50
    assert "other sources than 'x'" in catalogue.notes[0]
    assert catalogue.cell_sources["q.code"] == ("x", "x", "x", "y")


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_written_catalogue_is_read_back_as_the_same_facts(suffix: str, small: Catalogue, tmp_path: Path) -> None:
    write_catalogue(small, tmp_path / f"m{suffix}")
    again = read_catalogue(tmp_path / f"m{suffix}")
    assert again.ids == small.ids
    for name, values in small.ordered.items():
        np.testing.assert_array_equal(again.column(name), values)
    for name in ("family", "maker", "provider"):
        assert [again.value(name, r) for r in range(len(small))] == [small.value(name, r) for r in range(len(small))]


def test_models_dev_api(tmp_path: Path) -> None:
    entry = {"name": "GPT-5", "reasoning": True, "tool_call": True, "open_weights": False, "release_date": "2025-08",
             "modalities": {"input": ["text", "image"], "output": ["text"]}, "limit": {"context": 400000, "output": 0},
             "cost": {"input": 1.25, "output": 10, "cache_read": 0.125}}  # fmt: skip
    value = {
        "openai": {"id": "openai", "models": {"gpt-5": entry}},
        "azure": {"id": "azure", "models": {"gpt-5": entry}},
    }
    (tmp_path / "api.json").write_text(json.dumps(value))
    catalogue = read_catalogue(tmp_path / "api.json")
    assert catalogue.ids == ("openai:gpt-5", "azure:gpt-5")
    assert catalogue.source == "models.dev"
    told = {
        name: catalogue.value(name, 1)
        for name in ("vision", "pdf", "price_in", "prompt_cache", "max_output", "released")
    }
    assert told == {"vision": True, "pdf": False, "price_in": 1.25, "prompt_cache": True, "max_output": None,
                    "released": "2025-08-01"}  # fmt: skip
    assert catalogue.value("vendor", 1) == ["microsoft", "openai"]


def test_litellm_keeps_unknown_apart_from_false(tmp_path: Path) -> None:
    value = {
        "sample_spec": {"mode": "one of"},
        "gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-6,
                  "output_cost_per_token": 1e-5, "max_input_tokens": 128000, "supports_vision": True},
        "gpt-y": {"litellm_provider": "openai", "mode": "chat", "supports_vision": False, "max_tokens": 5},
        "embed": {"litellm_provider": "openai", "mode": "embedding"},
    }  # fmt: skip
    (tmp_path / "prices.json").write_text(json.dumps(value))
    catalogue = read_catalogue(tmp_path / "prices.json")
    assert catalogue.ids == ("gpt-x", "gpt-y")
    assert [catalogue.value("vision", row) for row in (0, 1)] == [True, False]
    assert [catalogue.value("tool_call", row) for row in (0, 1)] == [None, None]
    assert catalogue.value("price_in", 0) == pytest.approx(2.5)
    assert catalogue.value("context", 1) is None, "max_tokens could be either, so it is not read"


def test_real_catalogues(real_data: Callable[[str], Path]) -> None:
    folder = real_data("llm-models")
    dev = read_catalogue(folder / "models_dev.parquet")
    assert len(dev) == 4803
    assert any("'2025-25-11' is not a date" in note for note in dev.notes), "a wrong date of a public table is unknown"
    lite = read_catalogue(folder / "litellm_prices.json.gz")
    chats = [e for e in json.loads(gzip.decompress((folder / "litellm_prices.json.gz").read_bytes())).values()
             if e.get("mode") in ("chat", "responses")]  # fmt: skip
    assert len(lite) == len(chats)
    assert np.nanmax(lite.column("price_in")) < 1e4
    known = sum("supports_vision" in entry for entry in chats)
    assert int((~np.isnan(lite.column("vision"))).sum()) == known
