"""What a chat request says about itself: what it needs, how long it is, and what its sender wishes of the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.catalogue import Request

FEEDBACK_HEADER = "x-route-feedback"
POLICY_HEADER = "x-route-policy"
PREFIX = "routing:"
"""Lines of a system message that begin so are wishes to the router; they are taken out before the request goes on."""
_CHARACTERS_PER_TOKEN = 3.5
"""On the short side, so that a prompt is rather thought longer than it is."""
_TOKENS_PER_IMAGE = 1000
_NEEDS = {
    "image_url": "vision",
    "input_image": "vision",
    "input_audio": "audio_in",
    "file": "pdf",
    "video_url": "video_in",
}


@dataclass(frozen=True)
class Chat:
    """A chat request, read.

    Attributes:
        body: What is forwarded, without what was for the router; its ``model`` is set later.
        model: As asked for: ``auto``, ``auto:POLICY`` or an endpoint.
        policy: Name of a saved policy, empty for the default one.
        feedback: Wishes to the router.
        request: What it needs and how long it is.
        stream: Is a stream wanted?
    """

    body: dict[str, Any]
    model: str
    policy: str
    feedback: str
    request: Request
    stream: bool


def read_chat(body: Any, headers: Mapping[str, str]) -> Chat:
    """Read a chat request.

    Wishes come from the header ``X-Route-Feedback``, from lines of system messages that begin with ``Routing:``, and
    from the field ``route``; never from what a user or a tool says.

    Raises:
        ConfigError: It is no chat request.
    """
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise ConfigError("A chat request is an object with 'messages'", where="body")
    if not all(isinstance(message, dict) for message in body["messages"]):
        raise ConfigError("Each message is an object", where="messages")
    route = body.get("route") or {}
    if not isinstance(route, dict) or set(route) - {"feedback", "policy"}:
        raise ConfigError("'route' takes 'feedback' and 'policy'", where="route")
    model = str(body.get("model") or "auto")
    messages, said = _without_wishes(body["messages"])
    name, _, named = model.partition(":")
    policy = str(route.get("policy") or headers.get(POLICY_HEADER) or (named if name == "auto" else ""))
    wishes = [headers.get(FEEDBACK_HEADER, ""), *said, str(route.get("feedback") or "")]
    forwarded = {key: value for key, value in body.items() if key != "route"} | {"messages": messages}
    feedback = "\n".join(wish for wish in wishes if wish.strip())
    stream = bool(body.get("stream"))
    return Chat(forwarded, "auto" if name == "auto" else model, policy, feedback, _profile(forwarded), stream)


def _without_wishes(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    kept, said = [], []
    for message in messages:
        content = message.get("content")
        if (
            message.get("role") not in ("system", "developer")
            or not isinstance(content, str)
            or PREFIX not in content.lower()
        ):
            kept.append(message)
            continue
        lines = content.splitlines()
        wishes = [line for line in lines if line.strip().lower().startswith(PREFIX)]
        said += [line.strip()[len(PREFIX) :].strip() for line in wishes]
        rest = "\n".join(line for line in lines if line not in wishes).strip()
        if rest:
            kept.append({**message, "content": rest})
    return kept, said


def _profile(body: Mapping[str, Any]) -> Request:
    """Needs and tokens; the prompt's are estimated, and rounded up by an eighth so that decisions can be kept."""
    needs, characters, images = set(), 0, 0
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _NEEDS:
                needs.add(_NEEDS[kind])
                images += 1
            characters += len(str(part.get("text") or "")) if isinstance(part, dict) else 0
        characters += len(content) if isinstance(content, str) else 0
    if body.get("tools"):
        needs.add("tool_call")
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        needs.add("structured_output")
    tokens = int(characters / _CHARACTERS_PER_TOKEN) + images * _TOKENS_PER_IMAGE + 16
    wanted = body.get("max_completion_tokens") or body.get("max_tokens")
    tokens_out = int(wanted) if isinstance(wanted, int) and wanted > 0 else None
    return Request(tokens_in=_rounded(tokens), tokens_out=tokens_out, needs=frozenset(needs))


def _rounded(tokens: int) -> int:
    step = max(1, 2 ** (tokens.bit_length() - 3))
    return int(-(-tokens // step) * step)
