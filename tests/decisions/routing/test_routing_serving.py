"""The server against a provider of our own on this machine, through the official client."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from routing_cases import SMALL
from routing_upstream import Upstream, serving

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.serving.app import create_app
from rectitude.decisions.routing.serving.chat import read_chat
from rectitude.decisions.routing.serving.config import ServerConfig, reachable, read_server_config

HELLO = [{"role": "user", "content": "a secret question"}]
FIRST, SECOND = "gemini-flash-lite", "claude-haiku-4.5"
CHEAP = {"X-Route-Feedback": "cheap, must see images"}


def one_provider() -> Catalogue:
    return build_catalogue([{**row, "provider": "here"} for row in SMALL])


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[Upstream, str]]:
    up = Upstream()
    with serving(up.app()) as address:
        yield up, address


@pytest.fixture(scope="module")
def router(upstream: tuple[Upstream, str]) -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    patch.setenv("HERE_KEY", "sk-very-secret")
    config = ServerConfig(
        providers={"here": {"base_url": f"{upstream[1]}/v1", "key_env": "HERE_KEY"}},
        policies={"default": {"feedback": "no DeepSeek"}, "open": {"feedback": "open weights required"}},
        models={SECOND: "renamed"}, first_byte_timeout=0.5, idle_timeout=0.5,
    )  # fmt: skip
    with serving(create_app(one_provider(), config)) as address:
        yield address
    patch.undo()


@pytest.fixture
def up(upstream: tuple[Upstream, str]) -> Upstream:
    upstream[0].behaviour.clear()
    upstream[0].asked.clear()
    upstream[0].headers.clear()
    return upstream[0]


@pytest.fixture
def client(router: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router}/v1", api_key="of-the-client", max_retries=0) as found:
        yield found


def streamed(client: openai.OpenAI, **more: Any) -> str:
    parts = client.chat.completions.create(model="auto", messages=HELLO, stream=True, extra_headers=CHEAP, **more)  # type: ignore[arg-type]
    return "".join(part.choices[0].delta.content or "" for part in parts)


def test_the_official_client_is_routed_and_told_why(client: openai.OpenAI, up: Upstream, router: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, extra_headers=CHEAP)  # type: ignore[arg-type]
    assert raw.parse().choices[0].message.content == f"I am {FIRST}"
    assert raw.headers["x-route-model"] == FIRST
    assert "meets: family is not deepseek, reads images" in raw.headers["x-route-reason"]
    told = httpx.get(f"{router}/v1/route/explain", params={"id": raw.headers["x-route-id"]}).json()
    assert told["model"] == FIRST
    assert told["attempts"] == [{"model": FIRST, "status": 200, "error": ""}]
    assert "secret" not in json.dumps(told)
    assert up.headers[0]["authorization"] == "Bearer sk-very-secret", "the provider's key, not the client's"


def test_streams_pass_through(client: openai.OpenAI, up: Upstream) -> None:
    assert streamed(client) == f"I am {FIRST}"
    assert up.asked[0]["stream"] is True


@pytest.mark.parametrize("trouble", ["429", "500", "401", "hang", "empty", "error-event"])
def test_fallback_before_the_first_byte(trouble: str, client: openai.OpenAI, up: Upstream) -> None:
    up.behaviour[FIRST] = trouble
    assert streamed(client) == "I am renamed"
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, extra_headers=CHEAP)  # type: ignore[arg-type]
    if trouble not in ("empty", "error-event"):
        assert raw.headers["x-route-model"] == SECOND
        assert f"after {FIRST}" in raw.headers["x-route-reason"]


@pytest.mark.parametrize(
    ("trouble", "said"), [("cut", "ended before its answer"), ("stall", "in time"), ("reset", "broke off")]
)
def test_a_stream_that_breaks_off_says_so(trouble: str, said: str, client: openai.OpenAI, up: Upstream) -> None:
    up.behaviour[FIRST] = trouble
    with pytest.raises(openai.APIError, match=said):
        streamed(client)


def test_the_clients_own_mistake_is_its_own(client: openai.OpenAI, up: Upstream) -> None:
    up.behaviour[FIRST] = "400"
    with pytest.raises(openai.BadRequestError):
        streamed(client)
    assert len(up.asked) == 1


def test_all_busy_is_a_429_with_a_wait(client: openai.OpenAI, up: Upstream) -> None:
    up.behaviour.update(dict.fromkeys([FIRST, "renamed", "openai/gpt-5", "qwen3-coder", "mystery"], "429"))
    with pytest.raises(openai.RateLimitError) as caught:
        streamed(client)
    assert caught.value.response.headers["retry-after"] == "7"
    up.behaviour[FIRST] = "500"
    with pytest.raises(openai.InternalServerError, match="No endpoint answered"):
        streamed(client)


def test_wishes_that_cannot_be_met_are_explained(client: openai.OpenAI, up: Upstream) -> None:
    for wish, said in (
        ("only DeepSeek", "exclude each other"),
        ("at least 9M context", "without 'context at least 9,000,000"),
    ):
        with pytest.raises(openai.UnprocessableEntityError, match=said):
            client.chat.completions.create(model="auto", messages=HELLO, extra_headers={"X-Route-Feedback": wish})  # type: ignore[arg-type]
    assert up.asked == []


def test_saved_policies_and_pinned_models(client: openai.OpenAI, up: Upstream) -> None:
    def model(name: str, **more: Any) -> str:
        return str(client.chat.completions.create(model=name, messages=HELLO, **more).model)  # type: ignore[arg-type]

    assert model("auto:open") == "qwen3-coder"
    assert model("auto", extra_headers={"X-Route-Policy": "open"}) == "qwen3-coder"
    assert model("auto", extra_body={"route": {"policy": "open", "feedback": "cheap"}}) == "qwen3-coder"
    assert "route" not in up.asked[-1]
    assert model("openai/gpt-5") == "openai/gpt-5"
    with pytest.raises(openai.UnprocessableEntityError):
        model("deepseek-v3.1")
    with pytest.raises(openai.BadRequestError, match="no model 'gpt-9'"):
        model("gpt-9")
    with pytest.raises(openai.BadRequestError, match=r"no policy 'opne'.*Did you mean 'open'"):
        model("auto:opne")
    assert {entry.id for entry in client.models.list()} >= {"auto", "auto:open", FIRST}


def test_what_the_request_carries_is_needed(client: openai.OpenAI) -> None:
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=picture, extra_headers={"X-Route-Feedback": "good at coding"}
    )  # type: ignore[arg-type]
    assert raw.headers["x-route-model"] == "openai/gpt-5"
    raw = client.chat.completions.with_raw_response.create(  # type: ignore[call-overload]
        model="auto", messages=HELLO, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        extra_headers={"X-Route-Feedback": "cheap"},
    )  # fmt: skip
    assert raw.headers["x-route-model"] == FIRST


def test_only_system_messages_speak_to_the_router() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "Be kind.\nRouting: no OpenAI"},
            {"role": "user", "content": "Routing: only OpenAI"},
        ]
    }
    chat = read_chat(body, {})
    assert chat.feedback == "no OpenAI"
    assert [m["content"] for m in chat.body["messages"]] == ["Be kind.", "Routing: only OpenAI"]
    assert (
        read_chat({"messages": [{"role": "system", "content": "ROUTING: cheap"}, *HELLO]}, {}).body["messages"] == HELLO
    )


def test_profile_of_a_request() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 7000}], "max_tokens": 500, "stream": True,
            "response_format": {"type": "json_schema"}}  # fmt: skip
    chat = read_chat(body, {})
    assert 2000 <= (chat.request.tokens_in or 0) <= 2500
    assert chat.request.tokens_out == 500
    assert chat.request.needs == {"structured_output"}
    assert chat.stream


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"messages": []}', b'{"messages": [1]}', b'{"messages": [{}], "route": 1}', b"[" * 5000]
)
def test_bad_bodies_are_refused(body: bytes, router: str) -> None:
    response = httpx.post(f"{router}/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_explain_before_and_after(router: str) -> None:
    asked = {"feedback": "cheap, purple mascot", "policy": "open", "request": {"tokens_in": 100}}
    told = httpx.post(f"{router}/v1/route/explain", json=asked).json()
    assert told["chosen"] == "qwen3-coder"
    assert told["unparsed"] == 1, "counted, not kept"
    assert httpx.get(f"{router}/v1/route/explain", params={"id": "x"}).status_code == 400
    assert httpx.post(f"{router}/v1/route/explain", json={"x": 1}).status_code == 400
    assert httpx.get(f"{router}/health").json()["models"] == len(SMALL)


def test_nothing_written_or_secret_is_logged(
    client: openai.OpenAI, up: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="rectitude"):
        streamed(client)
        up.behaviour[FIRST] = "500"
        streamed(client)
    assert caplog.text
    assert not any(word in caplog.text for word in ("secret", "cheap", "images", "of-the-client"))


def test_a_hundred_streams_at_once(upstream: tuple[Upstream, str], up: Upstream) -> None:
    up.most_open, up.wait_for = 0, 100  # no stream goes on before all are open
    config = ServerConfig.model_validate({"providers": {"here": {"base_url": f"{upstream[1]}/v1"}}})

    async def all_of_them(address: str) -> list[str]:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as asking:
            body = {"model": "auto", "messages": HELLO, "stream": True}
            posts = (asking.post(f"{address}/v1/chat/completions", json=body) for _ in range(100))
            return [answer.text for answer in await asyncio.gather(*posts)]

    try:
        with serving(create_app(one_provider(), config)) as address:
            texts = asyncio.run(all_of_them(address))
    finally:
        up.wait_for = 0
    assert all(text.rstrip().endswith("[DONE]") for text in texts)
    assert up.most_open == 100


def test_clients_need_the_key_where_one_is_set(upstream: tuple[Upstream, str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"providers": {"here": {"base_url": f"{upstream[1]}/v1"}}, "client_key_env": "CLIENT_KEY"}
    with pytest.raises(ConfigError, match="CLIENT_KEY is not set"):
        create_app(one_provider(), ServerConfig.model_validate(given))
    monkeypatch.setenv("CLIENT_KEY", "let me in")
    with serving(create_app(one_provider(), ServerConfig.model_validate(given))) as address:
        for key, code in (("wrong", 401), ("let me in", 200)):
            assert httpx.get(f"{address}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == code
        assert httpx.get(f"{address}/health").status_code == 200


def test_endpoints_without_a_key_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    catalogue = build_catalogue(SMALL)
    config = ServerConfig.model_validate(
        {"providers": {"openai": {"base_url": "http://x", "key_env": "NO_KEY"}, "google": {"base_url": "http://y"}}}
    )
    kept, notes = reachable(catalogue, config)
    assert kept.ids == (FIRST,)
    assert notes == ["NO_KEY is not set, so the endpoints of 'openai' are left out"]
    alone = ServerConfig.model_validate({"providers": {"openai": {"base_url": "http://x", "key_env": "NO_KEY"}}})
    with pytest.raises(ConfigError, match=r"No endpoint can be reached.*Set NO_KEY"):
        reachable(catalogue, alone)
    wrong = ServerConfig.model_validate({"providers": {"opnai": {"base_url": "http://x"}}})
    with pytest.raises(ConfigError, match="Did you mean 'openai'"):
        reachable(catalogue, wrong)


def test_a_mistyped_setting_is_named(tmp_path: Any) -> None:
    (tmp_path / "router.toml").write_text('[providers.x]\nbase_url = "http://x"\n\n[polices.a]\nfeedback = ""\n')
    with pytest.raises(ConfigError, match="Did you mean 'policies'"):
        read_server_config(tmp_path / "router.toml")
