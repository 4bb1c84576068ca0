from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from rectitude.core.errors import ConfigError
from rectitude.models import registry
from rectitude.models.collaborative.popularity import Popularity


def test_a_name_gives_the_class_that_bears_it() -> None:
    assert registry.model_class("popularity") is Popularity


def test_names_are_listed_in_reading_order_without_importing_any_model() -> None:
    code = (
        "import sys; from rectitude.models.registry import model_names; names = model_names(); "
        "assert names[0] == 'popularity' and 'sasrec' in names and len(set(names)) == len(names); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown model 'sasrek'.*Did you mean 'sasrec'\?"):
        registry.model_class("sasrek")
    with pytest.raises(ConfigError, match=r"Known: .*popularity"):
        registry.model_class("zzz")


def test_packages_add_models_by_entry_point_but_cannot_take_our_names(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "rectitude.models.collaborative.popularity:Popularity"
    points = [
        EntryPoint("theirs", value, "rectitude.models"),
        EntryPoint("sasrec", value, "rectitude.models"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "rectitude.models" else [])
    assert registry.model_class("theirs") is Popularity
    assert registry.model_class("sasrec") is not Popularity
    assert registry.model_names()[-1] == "theirs"
    assert registry.model_names().count("sasrec") == 1
