from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rectitude.core.errors import ConfigError, DataError, RectitudeError
from rectitude.encoders.caption import Captioner, CaptionFile, caption_pictures, read_prompt

pytest.importorskip("openai", reason="comes with the extra 'caption'")

image = pytest.importorskip("PIL.Image", reason="comes with the extra 'caption'")


def picture(shade: int, kind: str = "PNG") -> bytes:
    stored = io.BytesIO()
    image.new("RGB", (8, 8), (shade, 0, 0)).save(stored, kind)
    return stored.getvalue()


PICTURES = [(f"i{number}", picture(number), f"Title {number}") for number in range(4)]


class Endpoint:
    """An OpenAI-compatible endpoint that describes, or answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer = "A plain red shoe with a low heel, made of leather."
        self.status = 200
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append(asked)
                message = {"role": "assistant", "content": endpoint.answer}
                body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip
                raw = json.dumps(body if endpoint.status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(endpoint.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *rest: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Direct(Captioner):
    """No retries: tests do not wait."""

    def client(self) -> Any:
        return super().client().with_options(max_retries=0)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.stop()


def captioner(address: str, model: str = "eye", **rest: Any) -> Captioner:
    return Direct(address, model, **rest)


def asked(endpoint: Endpoint, path: Path, pictures: Any = PICTURES) -> tuple[dict[str, str], dict[str, str]]:
    who = captioner(endpoint.address)
    return caption_pictures(who, pictures, CaptionFile(path, who))


def test_pictures_are_sent_with_their_title_and_captions_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    captions, failed = asked(endpoint, tmp_path / "captions.jsonl")
    assert captions == {f"i{number}": endpoint.answer for number in range(4)}
    assert failed == {}
    text, image = endpoint.asked[2]["messages"][0]["content"]
    assert "Title 2" in text["text"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert endpoint.asked[0]["temperature"] == 0
    asked(endpoint, tmp_path / "captions.jsonl")
    assert len(endpoint.asked) == 4  # nobody is asked twice
    changed = [("i0", PICTURES[0][1], "Another title"), *PICTURES[1:]]
    asked(endpoint, tmp_path / "captions.jsonl", changed)
    assert len(endpoint.asked) == 5


def test_a_picture_is_sent_as_what_it_is_and_a_broken_one_is_not(endpoint: Endpoint, tmp_path: Path) -> None:
    pictures = [("i0", picture(3, "WEBP"), "Hat"), ("i1", PICTURES[1][1][:40], "Shoe"), ("i2", b"words", "Sock")]
    captions, failed = asked(endpoint, tmp_path / "captions.jsonl", pictures)
    assert captions == {"i0": endpoint.answer}
    assert failed.keys() == {"i1", "i2"}
    assert all(reason.startswith("The picture cannot be read") for reason in failed.values())
    (sent,) = endpoint.asked
    assert sent["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/webp;base64,")


def test_an_endpoint_that_falls_silent_loses_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    asked(endpoint, path, PICTURES[:2])
    silent = captioner("http://127.0.0.1:9/v1")
    with pytest.raises(RectitudeError, match=r"does not answer.*2 captions are kept"):
        caption_pictures(silent, PICTURES, CaptionFile(path, silent))
    captions, _ = asked(endpoint, path)
    assert len(captions) == 4
    assert len(endpoint.asked) == 4


def test_an_endpoint_that_refuses_says_why(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.status = 401
    with pytest.raises(RectitudeError, match="The caption endpoint refuses"):
        asked(endpoint, tmp_path / "captions.jsonl")
    endpoint.status = 400  # of one picture, not of all
    _, failed = asked(endpoint, tmp_path / "captions.jsonl")
    assert set(failed) == {"i0", "i1", "i2", "i3"}


def test_an_answer_that_is_no_description_leaves_the_item_without(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = "No."
    captions, failed = asked(endpoint, tmp_path / "captions.jsonl")
    assert captions == {}
    assert failed["i1"] == "The answer has 3 characters, which is no description"


def test_captions_of_another_prompt_or_model_are_refused_and_left_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    CaptionFile(path, captioner("http://x/v1")).add("k", "i0", "A caption that was paid for.")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"by 'eye' with another prompt.*not mixed"):
        CaptionFile(path, captioner("http://x/v1", prompt="Say {title}"))
    with pytest.raises(DataError, match="by 'eye' with the same prompt"):
        CaptionFile(path, captioner("http://x/v1", "ear"))
    assert path.read_bytes() == before
    assert CaptionFile(path, captioner("http://another/v1")).captions == {"k": "A caption that was paid for."}


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path, who = tmp_path / "captions.jsonl", captioner("http://x/v1")
    CaptionFile(path, who).add("k", "i0", "Kept")
    with path.open("a") as file:
        file.write('{"key": "half')
    again = CaptionFile(path, who)
    assert again.captions == {"k": "Kept"}
    again.add("l", "i1", "Next")
    assert CaptionFile(path, who).captions == {"k": "Kept", "l": "Next"}
    path.write_text("nonsense\n")
    with pytest.raises(DataError, match="The captions are damaged"):
        CaptionFile(path, who)


def test_a_prompt_needs_a_place_for_the_title(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Describe {title}.")
    assert read_prompt(tmp_path / "prompt.txt") == "Describe {title}."
    (tmp_path / "prompt.txt").write_text("Describe it.")
    with pytest.raises(ConfigError, match=r"has no \{title\}"):
        read_prompt(tmp_path / "prompt.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prompt(tmp_path / "nothing.txt")
