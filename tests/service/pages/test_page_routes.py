"""Pages over HTTP, without a browser: who may read what, what is escaped, what is refused, and every empty state."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rectitude.service.app import create_app
from rectitude.service.service import Service
from rectitude.service.serving.asking import Ask
from rectitude.service.store import UserFacts

with warnings.catch_warnings():  # it uses an old name of anyio's
    warnings.simplefilter("ignore", DeprecationWarning)
    from starlette.testclient import TestClient

HOSTILE = "<script>window.broken=1</script>"
PATHS = ("/explore", "/compare", "/audit", "/me", "/plan", "/route", "/runs")
STATES = (
    "/explore?person=u3",
    "/explore?person=u3&beside=bpr&add=i2&without=i5",
    "/explore?add=i1&add=i2",
    "/explore?q=film",
    "/explore?q=nothing-of-the-kind",
    "/audit?run=bpr",
    "/runs/less",
    "/me?person=u3",
    "/me?person=nobody",
    "/plan?row=3",
    "/route?say=must+see+images,+cheap,+blorp&why_not=coder",
    "/route?say=context+of+at+least+900000000+tokens",
)


def client_of(service: Service) -> TestClient:
    return TestClient(create_app(service), base_url="http://127.0.0.1")


@pytest.fixture
def web(shown: Service) -> Iterator[TestClient]:
    with client_of(shown) as client:
        yield client


@pytest.fixture(scope="module")
def reading(site: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """For tests that change nothing."""
    service = site.launch(tmp_path_factory.mktemp("reading"))
    with client_of(service) as client:
        yield client
    service.close()


def token(client: TestClient, path: str = "/runs") -> str:
    return re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)[1]  # type: ignore[index]


# ---- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, *STATES])
def test_a_page_is_whole_and_carries_a_strict_policy(reading: TestClient, path: str) -> None:
    response = reading.get(path)
    assert response.status_code == 200, response.text
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    text = response.text
    assert text.count("<h1") == 1
    assert text.rstrip().endswith("</html>")
    assert " style=" not in text
    assert "<style" not in text
    assert not re.findall(r"<script(?! src=)", text)
    assert not re.findall(r' on[a-z]+="', text)
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', text)
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert "" not in ids


def test_hostile_titles_are_escaped_everywhere(reading: TestClient) -> None:
    for path in ("/explore?add=i2", "/explore?q=café", "/explore/suggest?q=café", "/explore?q=" + HOSTILE,
                 "/route?say=" + HOSTILE, "/me?person=" + HOSTILE, "/explore/why?add=i2&item=i5&of=main"):  # fmt: skip
        text = reading.get(path).text
        assert HOSTILE not in text
        if "suggest" in path or "add" in path:
            assert html.escape(HOSTILE, quote=False) in text.replace("&#34;", '"')


def test_titles_from_right_to_left_find_their_direction(reading: TestClient) -> None:
    assert re.search(r'dir="auto">ألف ليلة وليلة', reading.get("/explore?add=i1").text)


def test_files_are_kept_for_ever_under_their_own_address_only(reading: TestClient) -> None:
    address = re.search(r'href="(/static/[^"]+\.css)"', reading.get("/runs").text)[1]  # type: ignore[index]
    assert "immutable" in reading.get(address).headers["cache-control"]
    assert reading.get("/static/000000000000/page.css").headers["cache-control"] == "no-cache"
    assert reading.get("/static/0/../../../etc/passwd").status_code == 404
    assert reading.get("/static/0/passwd").status_code == 404


def test_pictures_come_from_the_service_and_wait_for_their_turn(reading: TestClient) -> None:
    text = reading.get("/explore?add=i5").text
    address = html.unescape(re.search(r'<img src="([^"]+)"', text)[1])  # type: ignore[index]
    assert 'loading="lazy"' in text
    picture = reading.get(address)
    assert picture.headers["content-type"] == "image/png"
    assert "max-age" in picture.headers["cache-control"]
    assert "<text x=" in reading.get("/explore?add=i4").text, "an item without a picture has a drawn one"


# ---- light and dark, runs in use -------------------------------------------------------------------------------------


def test_the_choice_of_light_or_dark_is_in_the_next_page(web: TestClient) -> None:
    assert "data-theme" not in web.get("/runs").text
    form = {"csrf": token(web), "theme": "dark", "back": "/compare"}
    response = web.post("/theme", data=form, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/compare")
    assert 'data-theme="dark"' in web.get("/runs").text


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "evil"])
def test_nobody_is_sent_elsewhere(reading: TestClient, back: str) -> None:
    form = {"csrf": token(reading), "theme": "dark", "back": back}
    assert reading.post("/theme", data=form, follow_redirects=False).headers["location"] == "/"


def test_the_run_in_use_is_remembered(web: TestClient) -> None:
    assert "of bpr" in web.get("/audit?run=bpr").text
    assert "of bpr" in web.get("/audit").text
    assert web.get("/audit?run=../../etc").status_code == 404


# ---- people's acts ---------------------------------------------------------------------------------------------------


def test_an_item_is_taken_out_of_use_and_put_back_without_a_script(web: TestClient, shown: Service) -> None:
    csrf = token(web, "/me?person=u3")
    item = re.search(r'action="/me/items/stop".*?name="item" value="([^"]+)"', web.get("/me?person=u3").text)[1]  # type: ignore[index]
    form = {"csrf": csrf, "item": item, "person": "u3"}
    response = web.post("/me/items/stop", data=form, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/me?person=u3#history")
    assert shown.store.histories(["u3"])["u3"].stopped == {item}
    assert "not used" in web.get("/me?person=u3").text
    web.post("/me/items/use", data=form)
    assert not shown.store.histories(["u3"])["u3"].stopped


def test_what_was_objected_to_is_shown_no_more(web: TestClient) -> None:
    text = web.get("/me?person=u3").text
    item = re.search(r'action="/me/items/object".*?name="item" value="([^"]+)"', text)[1]  # type: ignore[index]
    form = {"csrf": token(web), "item": item, "person": "u3"}
    part = web.post("/me/items/object", data=form, headers={"HX-Request": "true"})
    assert "Never to be shown" in part.text
    assert "<html" not in part.text
    again = web.get("/me?person=u3").text
    assert f'name="item" value="{item}"' not in re.search(r"<ol class=\"list two\">.*?</ol>", again, re.DOTALL)[0]  # type: ignore[index]


@pytest.mark.parametrize(
    "path",
    ["/me/items/stop", "/me/share", "/me/requests", "/theme", "/sign-in", "/sign-out", "/plan", "/audit/forget",
     "/audit/remedy", "/audit/serve"],
)  # fmt: skip
def test_a_form_without_its_token_changes_nothing(web: TestClient, path: str) -> None:
    web.get("/runs")
    form = {"item": "i1", "person": "u3", "kind": "delete", "theme": "dark", "identifier": "x", "percent": "0",
            "run": "bpr", "attribute": "gender"}  # fmt: skip
    assert web.post(path, data=form).status_code == 403
    assert web.post(path, data={**form, "csrf": "0" * 64}).status_code == 403


def test_a_part_of_the_history_is_shared_without_a_script(web: TestClient, shown: Service) -> None:
    form = {"csrf": token(web, "/me?person=u3"), "person": "u3", "percent": "50"}
    response = web.post("/me/share", data=form, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/me?person=u3#sharing")
    assert shown.store.shared("u3") == 50
    text = web.get("/me?person=u3").text
    used, of = re.search(r'The newest <data value="(\d+)">\d+</data> of <data value="(\d+)">', text).groups()  # type: ignore[union-attr]
    assert int(used) == (int(of) + 1) // 2
    assert text.count(">not shared<") == int(of) - int(used)
    assert "Share this much" in text
    assert "somebody who has just arrived" in web.post("/me/share", data={**form, "percent": "0"}).text
    assert "not shared" not in web.post("/me/share", data={**form, "percent": "100"}).text
    for wrong in ("101", "-1", "half", ""):
        assert web.post("/me/share", data={**form, "percent": wrong}).status_code == 422
    assert [entry.action for entry in shown.store.trail.page(limit=9)] == ["history.shared"] * 3


def test_what_a_model_stores_of_a_person_is_left_aside_where_less_is_shared(web: TestClient, shown: Service) -> None:
    said = "the vector that the model in use stores of them is left aside"
    assert said in web.get("/me?person=u3&run=bpr").text
    assert said not in web.get("/me?person=u3&run=main").text
    shown.store.share("u3", 50)
    served, state = shown.shelf["bpr"], shown.store.histories(["u3"])["u3"]
    person = served.person(Ask(user="u3"), state)
    assert person.index == -1
    assert 0 < len(person.history) < len(person.seen)


def test_objecting_from_a_list_comes_back_to_it(web: TestClient, shown: Service) -> None:
    path = "/explore?run=main&person=u3"
    text = web.get(path).text
    item = re.search(r'action="/me/items/object".*?name="item" value="([^"]+)"', text)[1]  # type: ignore[index]
    form = {"csrf": token(web), "item": item, "person": "u3", "back": path}
    response = web.post("/me/items/object", data=form, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, path)
    assert "Never to be shown" in web.get(path).text
    altered = web.get(path + "&without=i1").text
    assert "without=i1&amp;without=" in altered
    assert f"without={item}" not in altered, "with another history it is not shown either"
    assert shown.store.histories(["u3"])["u3"].objected == {item}
    away = web.post("/me/items/allow", data={**form, "back": "//evil.example"}, follow_redirects=False)
    assert away.headers["location"] == "/me"
    assert "Never to be shown" not in web.get(path).text


def test_a_remedy_is_asked_for_made_and_put_into_service(
    web: TestClient, shown: Service, brief_unlearning: None
) -> None:
    address = html.unescape(re.search(r'href="(/audit/remedy[^"]+)"', web.get("/audit?run=bpr").text)[1])  # type: ignore[index]
    assert address == "/audit/remedy?run=bpr&remedy=unlearn&attribute=gender"
    confirm = web.get(address).text
    assert "Make a run of bpr that does not tell gender?" in confirm
    assert not shown.store.requests.all(kind="remedy")
    form = {"csrf": token(web), "run": "bpr", "remedy": "unlearn", "attribute": "gender"}
    assert web.post("/audit/remedy", data={**form, "remedy": "in-ucds"}).status_code == 404
    assert web.post("/audit/remedy", data={**form, "remedy": "pray"}).status_code == 422
    assert web.post("/audit/remedy", data={**form, "attribute": "age"}).status_code == 404
    assert web.post("/audit/remedy", data={**form, "run": "main"}).status_code == 404
    begun = web.post("/audit/remedy", data=form).text
    assert "Make bpr unable to tell gender" in begun
    assert "It is being made" in begun
    (asked,) = shown.store.requests.all(kind="remedy")
    shown.jobs.run_waiting()
    part = web.get("/audit/requests", headers={"HX-Request": "true"}).text
    assert "Put bpr-without-gender into service" in part
    assert "hx-get" not in part, "nothing is left to follow"
    form = {"csrf": form["csrf"], "identifier": asked.id}
    served = web.post("/audit/serve", data=form).text
    assert "bpr-without-gender is in service in its place" in served
    assert shown.shelf["bpr"].name == "bpr-without-gender"
    assert web.post("/audit/serve", data=form).status_code == 422
    web.post("/audit/serve", data={**form, "back": "true"})
    assert shown.shelf["bpr"].name == "bpr"


def test_who_reads_an_audit_starts_no_remedy_and_objects_for_nobody(shown: Service) -> None:
    _, text = shown.store.keys.make("reader", "read")
    with client_of(shown) as client:
        sign_in(client, text)
        page = client.get("/audit?run=bpr").text
        assert "Whoever runs the service can start it here" in page
        assert "/audit/remedy" not in page
        assert client.get("/audit/remedy?run=bpr&remedy=unlearn&attribute=gender").status_code == 403
        form = {"csrf": token(client), "run": "bpr", "attribute": "gender", "identifier": "x"}
        assert client.post("/audit/remedy", data=form).status_code == 403
        assert client.post("/audit/serve", data=form).status_code == 403
        assert "never show this" not in client.get("/explore?person=u3").text
        assert "not this one" in client.get("/explore?add=i5").text


def test_another_run_keeps_the_person(web: TestClient) -> None:
    text = web.get("/explore?run=main&person=u3&beside=bpr&k=20").text
    menu = text.partition('aria-label="Run in use"')[2].partition("</nav>")[0]
    assert [html.unescape(one) for one in re.findall('href="([^"]+)"', menu)] == [
        "/explore?run=main&person=u3&beside=bpr&k=20",
        "/explore?run=bpr&person=u3&k=20",
        "/explore?run=less&person=u3&beside=bpr&k=20",
    ]


def test_deleting_is_asked_twice_and_says_what_goes(web: TestClient, shown: Service) -> None:
    shown.store.put_users([UserFacts("u7", {"gender": "F"})])
    text = web.get("/me/delete?person=u7").text
    assert "1</data> fact" in text
    assert "It cannot be undone" in text
    response = web.post("/me/requests", data={"csrf": token(web), "kind": "delete", "person": "u7"})
    assert "Nothing is held any more" in response.text
    assert shown.store.user("u7") is None
    assert "Delete me" in web.get("/me?person=u7").text


def test_an_unknown_request_is_refused_in_words(web: TestClient) -> None:
    response = web.post("/me/requests", data={"csrf": token(web), "kind": "forge", "person": "u7"})
    assert response.status_code == 422
    assert "forge" in response.text


def test_whoever_runs_the_service_lets_models_forget(shown: Service) -> None:
    _, person = shown.store.keys.make("one", "person", "u5")
    _, runner = shown.store.keys.make("me", "admin")
    with client_of(shown) as client:
        sign_in(client, person)
        client.post("/me/requests", data={"csrf": token(client, "/me"), "kind": "forget", "attribute": "gender"})
        assert "waiting for whoever runs this service" in client.get("/me").text
        client.cookies.clear()
        sign_in(client, runner)
        text = client.get("/audit?run=bpr").text
        assert "1</data> person asked that gender be forgotten" in text
        identifier = re.search(r'name="identifier" value="([^"]+)"', text)[1]  # type: ignore[index]
        client.post("/audit/forget", data={"csrf": token(client), "identifier": identifier})
        assert shown.store.requests.get(identifier).status != "waiting"  # type: ignore[union-attr]


# ---- keys ------------------------------------------------------------------------------------------------------------


def sign_in(client: TestClient, key: str) -> Any:
    form = {"csrf": token(client, "/sign-in"), "key": key}
    return client.post("/sign-in", data=form)


def test_without_a_key_a_page_asks_for_one_and_goes_on_where_it_was(shown: Service) -> None:
    _, text = shown.store.keys.make("me", "read")
    with client_of(shown) as client:
        response = client.get("/compare?fold=test", follow_redirects=False)
        assert response.headers["location"] == "/sign-in?back=%2Fcompare%3Ffold%3Dtest"
        form = {"csrf": token(client, "/sign-in"), "key": "rk_no_such", "back": "/compare"}
        refused = client.post("/sign-in", data=form)
        assert refused.status_code == 403
        assert "does not open anything" in refused.text
        assert "rk_no_such" not in refused.text
        opened = client.post("/sign-in", data={**form, "key": text}, follow_redirects=False)
        assert opened.headers["location"] == "/compare"
        assert client.get("/compare").status_code == 200
        client.post("/sign-out", data={"csrf": token(client)})
        assert client.get("/compare", follow_redirects=False).status_code == 303


def test_a_person_sees_their_own_page_and_no_other(shown: Service) -> None:
    _, text = shown.store.keys.make("one", "person", "u5")
    with client_of(shown) as client:
        mine = sign_in(client, text)
        assert "What is known of me" in mine.text
        assert re.findall(r'<a href="(/[a-z]+)"', mine.text.split("<main")[0]) == ["/me", "/plan", "/me", "/plan"]
        for path in ("/explore", "/compare", "/audit", "/route", "/runs", "/me?person=u6", "/me/requests?person=u6",
                     "/me/delete?person=u6", "/me/why?item=i1&person=u6"):  # fmt: skip
            response = client.get(path)
            assert response.status_code == 403, path
            assert "not for you to see" in response.text
        form = {"csrf": token(client, "/me"), "item": "i1", "person": "u6"}
        assert client.post("/me/items/stop", data=form).status_code == 403
        assert client.get("/plan?row=1").status_code == 200
        assert not re.findall(r'<input id="q[0-9]+" name="[^"]+" value="[^"]', client.get("/plan?row=1").text)


def test_those_who_only_read_see_nobody_s_own_page(shown: Service) -> None:
    _, text = shown.store.keys.make("reader", "read")
    with client_of(shown) as client:
        sign_in(client, text)
        assert 'href="/me"' not in client.get("/runs").text
        assert client.get("/me?person=u5").status_code == 403
        form = {"csrf": token(client), "item": "i1", "person": "u5"}
        assert client.post("/me/items/stop", data=form).status_code == 403


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_errors_are_pages_that_say_what_to_do(reading: TestClient) -> None:
    missing = reading.get("/no-such-page")
    assert missing.status_code == 404
    assert "There is no such page" in missing.text
    assert reading.get("/runs/nothing").status_code == 404
    assert reading.get("/runs/%2e%2e%2fetc/report").status_code == 404
    assert reading.get("/compare?fold=other").status_code == 422
    assert reading.get("/me/exports/../../x").status_code == 404
    assert reading.get("/explore?beside=none").status_code == 404


def test_a_report_runs_nothing(reading: TestClient) -> None:
    response = reading.get("/runs/bpr/report")
    assert response.status_code == 200
    assert "sandbox" in response.headers["content-security-policy"]
    assert "script-src" not in response.headers["content-security-policy"]
    assert reading.get("/runs/bpr/card").headers["content-disposition"] == 'attachment; filename="bpr.md"'


def test_answers_that_do_not_fit_are_marked_and_nothing_is_lost(reading: TestClient) -> None:
    form = {"csrf": token(reading, "/plan"), "a:screen_hours": "many", "a:exercise_days": "2"}
    response = reading.post("/plan", data=form)
    assert response.status_code == 422
    assert "Write a number" in response.text
    assert 'value="many"' in response.text
    assert 'aria-invalid="true"' in response.text
    nothing = reading.post("/plan", data={"csrf": form["csrf"]})
    assert nothing.status_code == 422
    assert "No question was answered" in nothing.text


def test_a_plan_is_made_without_a_script(reading: TestClient) -> None:
    form = {
        "csrf": token(reading, "/plan"),
        "a:screen_hours": "6",
        "a:exercise_days": "1",
        "a:smoking": "No",
        "a:age": "40",
    }
    response = reading.post("/plan", data={**form, "changes": "1", "keep:exercise_days": "on"})
    assert response.status_code == 200
    assert "Your plan" in response.text
    assert "not proven effects" in response.text
    assert "Raise exercise" not in response.text, "what is to stay as it is is not advised"


def test_a_wrong_number_of_tokens_is_said_where_it_stands(reading: TestClient) -> None:
    text = reading.get("/route?say=cheap&tokens_in=lots").text
    assert "Write a whole number" in text
    assert "Which models meet it" not in text
    assert "Did you mean" in reading.get("/route?say=cheap&why_not=codr").text


def test_nothing_served_has_its_own_words(site: Any, tmp_path: Path) -> None:
    service = site.launch(tmp_path, plan=None, models=None)
    try:
        with client_of(service) as client:
            assert "--plan" in client.get("/plan").text
            assert "--models" in client.get("/route").text
            assert "has not been audited" in client.get("/audit?run=main").text
            assert "Nobody has checked yet" not in client.get("/me?person=u1").text
            assert "Nothing is known of nobody" in client.get("/me?person=nobody").text
    finally:
        service.shelf.close()
        service.close()


def test_a_plan_that_cannot_be_read_is_said(site: Any, tmp_path: Path) -> None:
    service = site.launch(tmp_path, plan=tmp_path / "gone", models=tmp_path / "gone.csv")
    try:
        with client_of(service) as client:
            assert "There is no such run" in client.get("/plan").text
            assert "No model could be chosen" in client.get("/route").text
    finally:
        service.shelf.close()
        service.close()


def test_a_single_run_is_no_comparison(site: Any, tmp_path: Path) -> None:
    alone = type(site)({"main": site.slots["main"]}, site.plan, site.models)
    service = alone.launch(tmp_path)
    try:
        with client_of(service) as client:
            assert "One run is not a comparison" in client.get("/compare").text
            assert "Beside" not in client.get("/explore?person=u1").text
    finally:
        service.shelf.close()
        service.close()


def test_real_posters_are_shown(real_data: Callable[[str], Path]) -> None:
    from rectitude.data.readers import load
    from rectitude.service.serving.catalogue import Catalogue

    folder = real_data("ml-100k")
    data = load(folder)
    ids = data.items["item_id"]
    from rectitude.data.dataset import Ids

    catalogue = Catalogue(Ids("item", ids), data.items["title"].to_list(), data.items, folder)
    path = catalogue.picture_path("1")
    assert path is not None
    assert path.read_bytes()[:2] == b"\xff\xd8"
