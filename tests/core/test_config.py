from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from rectitude.core.config import Settings, build, origins, parse_assignments, read_config
from rectitude.core.errors import ConfigError


class Example(Settings):
    n_factors: int = Field(64, ge=1)
    """Width of the vectors; usual range 16 to 256."""
    loss: str = "bpr"
    """Name of the loss."""


def test_assignments_are_read_as_json_where_they_are_json() -> None:
    read = parse_assignments(["n=64", "rate=1e-3", "on=true", "ks=[5, 10]", "loss=bpr", "none=null", "a=b=c", "empty="])
    assert read == {
        "n": 64, "rate": 1e-3, "on": True, "ks": [5, 10], "loss": "bpr", "none": None, "a": "b=c", "empty": "",
    }  # fmt: skip


@given(st.text())
def test_an_assigned_value_is_json_or_the_text_itself(text: str) -> None:
    value = parse_assignments([f"key={text}"])["key"]
    try:
        expected = json.loads(text)
    except ValueError:
        expected = text
    assert value == expected or (value != value and expected != expected)


def test_an_assigned_value_is_never_evaluated(tmp_path: Path) -> None:
    witness = tmp_path / "evaluated"
    attacks = [
        f"__import__('pathlib').Path({str(witness)!r}).touch()",
        f"!!python/object/apply:os.system ['touch {witness}']",
        f"$(touch {witness})",
        f"`touch {witness}`",
    ]
    for attack in attacks:
        assert parse_assignments([f"loss={attack}"]) == {"loss": attack}
        assert build(Example, {"loss": attack}).loss == attack
    assert not witness.exists()


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_an_absurd_value_is_kept_as_text(value: str) -> None:
    assert parse_assignments([f"key={value}"]) == {"key": value}


@pytest.mark.parametrize("text", ["n_factors", "=3", " =3"])
def test_what_is_not_an_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Write it as key=value"):
        parse_assignments([text])


def test_files_are_read_by_their_kind(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("n_factors = 32\n")
    (tmp_path / "run.json").write_text('{"n_factors": 32}')
    assert read_config(tmp_path / "run.toml") == read_config(tmp_path / "run.json") == {"n_factors": 32}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"n_factors: 3", "is not TOML"),
        ("a.json", b"{n_factors: 3}", "is not JSON"),
        ("a.json", b"[1, 2]", "must hold a table"),
        ("a.toml", b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)


def test_an_unknown_key_is_refused_with_what_was_probably_meant() -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown setting 'n_factor' for Example \(--set\). Did you mean 'n_factors'"
    ):
        build(Example, {"n_factor": 3}, where="--set")


@pytest.mark.parametrize("value", ["many", 0, 1.5, None, float("nan")])
def test_a_value_that_does_not_fit_is_refused_with_the_field_explained(value: object) -> None:
    with pytest.raises(ConfigError, match=r"Setting 'n_factors' does not accept .*usual range 16 to 256"):
        build(Example, {"n_factors": value})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build(Example, {}).n_factors = 3  # type: ignore[misc]


def test_each_value_remembers_the_last_layer_that_set_it() -> None:
    settings = build(Example, {"n_factors": 8, "loss": "bce"})
    assert origins(settings, {"file run.toml": ["n_factors", "loss"], "--set": ["loss"]}) == {
        "n_factors": {"value": 8, "origin": "file run.toml"},
        "loss": {"value": "bce", "origin": "--set"},
    }
    assert origins(Example(), {})["loss"] == {"value": "bpr", "origin": "default"}
