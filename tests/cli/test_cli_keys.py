from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rectitude.service.store import Store

Cli = Callable[..., Any]


def test_keys_are_made_listed_and_revoked(cli: Cli, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/s.db"
    made = json.loads(cli("keys", "make", "boss", "--role", "admin", "--store", store, "--json").stdout)
    mine = cli("keys", "make", "mine", "--role", "person", "--user", "u1", "--store", store).stdout.strip()
    with Store.open(store) as opened:
        assert opened.keys.verify(made["key"]) is not None
        found = opened.keys.verify(mine)
        assert found is not None
        assert found.user == "u1"
        assert [entry.actor for entry in opened.trail.page()] == ["command line"] * 2
    listed = cli("keys", "list", "--store", store).stdout
    assert "boss" in listed
    assert made["key"].rpartition("_")[2] not in listed
    assert json.loads(cli("keys", "revoke", made["id"], "--store", store, "--json").stdout) == {"revoked": made["id"]}
    with Store.open(store) as opened:
        assert opened.keys.verify(made["key"]) is None


def test_errors_are_one_line(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "There is no such store" in refusal("keys", "list", "--store", f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    store = f"sqlite:///{tmp_path}/s.db"
    assert "belongs to one person" in refusal("keys", "make", "x", "--role", "person", "--store", store)
    assert "in use" in refusal("keys", "revoke", "none", "--store", store)
