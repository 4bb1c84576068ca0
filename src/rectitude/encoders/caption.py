"""Pictures to words: a vision-language model behind any OpenAI-compatible endpoint, or a template of the metadata.

Captions are the costly artefact. They are appended one a line to a ``.jsonl`` file whose first line says which model
and which prompt made them; a file made otherwise is refused, so that captions of two kinds are never mixed. What is in
the file is not asked for again.

Source of the prompt's content: the scripts of VLM4Rec (arXiv:2603.12625) ask for a short description that names looks,
style, colour, material, design and what is notable, and give the title.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rectitude.core.errors import ConfigError, DataError, MissingExtraError, RectitudeError
from rectitude.core.files import write_text
from rectitude.encoders.cache import key_of
from rectitude.encoders.image import FORMAT, open_picture

PROMPT = (
    "Describe this product for a recommender system in two or three sentences: what it is, its look and style, "
    "colours, material, design, the occasion it suits, and anything notable. Say only what can be seen. "
    "Its title is: {title}"
)
TEMPLATE = "template"
_SHORTEST, _LONGEST = 20, 1500


@dataclass(frozen=True)
class Captioner:
    """A vision-language model.

    Attributes:
        endpoint: Address of the API, up to ``/v1``.
        model: Name the endpoint knows it by.
        prompt: With ``{title}`` where the title goes.
        timeout: Seconds one answer may take.
    """

    endpoint: str
    model: str
    prompt: str = PROMPT
    timeout: float = 120.0

    @property
    def identity(self) -> str:
        """What captions must share to stand in one file."""
        return f"caption {self.model} {key_of(self.prompt)[:12]}"

    def key(self, raw: bytes, title: str) -> str:
        """Name of a picture with its title."""
        return key_of(raw, title)

    def client(self) -> Any:
        """The client of the endpoint; the key is taken from ``OPENAI_API_KEY`` where it is set.

        Raises:
            MissingExtraError: The package is not installed.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingExtraError("openai", "caption", "Asking for captions") from error
        return OpenAI(
            base_url=self.endpoint,
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            timeout=self.timeout,
            max_retries=2,
        )

    def ask(self, client: Any, raw: bytes, title: str) -> str:
        """One caption, greedy, at most 150 tokens.

        Raises:
            DataError: The picture cannot be read and is not sent, or the answer is no description.
        """
        kind = open_picture(raw, title).info[FORMAT]
        picture = f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"
        answer = client.chat.completions.create(
            model=self.model,
            temperature=0,
            max_tokens=150,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": self.prompt.replace("{title}", title or "unknown")},
                        {"type": "image_url", "image_url": {"url": picture}},
                    ],
                }
            ],
        )
        text = " ".join((answer.choices[0].message.content or "").split())
        if not _SHORTEST <= len(text) <= _LONGEST:
            raise DataError(f"The answer has {len(text)} characters, which is no description")
        return text


class CaptionFile:
    """Captions on the disk, one a line.

    Args:
        path: The ``.jsonl`` file; made if it is not there.
        captioner: Whose captions it holds.

    Raises:
        DataError: It holds captions of another model or prompt, or is damaged.
    """

    def __init__(self, path: Path, captioner: Captioner) -> None:
        self.path = path
        self.captions: dict[str, str] = {}
        about = {"identity": captioner.identity, "model": captioner.model, "prompt": captioner.prompt}
        if not path.exists():
            write_text(path, json.dumps(about) + "\n")
            return
        lines = path.read_text(encoding="utf-8").split("\n")
        whole, tail = lines[:-1], lines[-1]
        try:
            first = json.loads(whole[0])
            entries = [json.loads(line) for line in whole[1:] if line]
            self.captions = {entry["key"]: entry["caption"] for entry in entries}
        except (json.JSONDecodeError, IndexError, KeyError, TypeError) as error:
            raise DataError(
                "The captions are damaged", where=str(path), fix="Move the file away and ask again"
            ) from error
        if first.get("identity") != captioner.identity:
            raise DataError(
                f"The captions there are by '{first.get('model')}' with "
                f"{'another' if first.get('prompt') != captioner.prompt else 'the same'} prompt",
                where=str(path),
                fix="Give another --out, or the model and prompt they were made with; captions are not mixed",
            )
        if tail:  # a line that was cut off when the process was killed
            write_text(path, "\n".join(whole) + "\n")

    def add(self, key: str, item_id: str, caption: str) -> None:
        """Append a caption; it is on the disk when this returns."""
        self.captions[key] = caption
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "item_id": item_id, "caption": caption}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def caption_pictures(
    captioner: Captioner,
    pictures: Sequence[tuple[str, bytes, str]],
    file: CaptionFile,
    tick: Callable[[], None] = lambda: None,
) -> tuple[dict[str, str], dict[str, str]]:
    """Captions of pictures, those that are in the file as they are and the others asked for.

    Args:
        captioner: Whom to ask.
        pictures: Item id, bytes and title of each.
        file: Where captions are kept.
        tick: Called after each picture.

    Returns:
        Item id to caption, and item id to what went wrong for those without.

    Raises:
        RectitudeError: The endpoint does not answer, or refuses; the captions had so far are kept.
    """
    client = None
    captions: dict[str, str] = {}
    failed: dict[str, str] = {}
    for item_id, raw, title in pictures:
        key = captioner.key(raw, title)
        if key not in file.captions:
            client = client or captioner.client()
            try:
                file.add(key, item_id, _asked(captioner, client, raw, title, len(file.captions)))
            except DataError as error:
                failed[item_id] = error.what
                tick()
                continue
        captions[item_id] = file.captions[key]
        tick()
    return captions, failed


def _asked(captioner: Captioner, client: Any, raw: bytes, title: str, kept: int) -> str:
    import openai

    try:
        return captioner.ask(client, raw, title)
    except openai.APIConnectionError as error:
        raise RectitudeError(
            "The caption endpoint does not answer",
            where=captioner.endpoint,
            fix=f"Start it and run the same command again; {kept} captions are kept",
        ) from error
    except openai.BadRequestError as error:
        raise DataError(f"The endpoint refused the picture: {_reason(error)}") from error
    except openai.APIStatusError as error:
        raise RectitudeError(
            f"The caption endpoint refuses: {_reason(error)}",
            where=captioner.endpoint,
            fix=f"See to it and run the same command again; {kept} captions are kept",
        ) from error


def _reason(error: Any) -> str:
    return str(getattr(error, "message", error)).split("\n")[0][:200]


def read_prompt(path: Path) -> str:
    """A prompt from a file.

    Raises:
        ConfigError: It cannot be read or has no place for the title.
    """
    try:
        prompt = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The prompt cannot be read: {error}", where=str(path)) from error
    if "{title}" not in prompt:
        raise ConfigError("The prompt has no {title}", where=str(path), fix="Write {title} where the title belongs")
    return prompt
