"""Names of models in text: those of the catalogue, and those that only look like one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rectitude.decisions.routing.catalogue import plain
from rectitude.decisions.routing.parsing.lexicon import VERSIONED, Mention

_LONGEST = 8
"""Words of a name at most."""
_MOST = 40
"""Models that the beginning of a name may stand for at most."""
_WORD = re.compile(r"[a-z0-9][a-z0-9.:]*")
_STRANGER = re.compile(
    r"(?<![\w-])(?:like|than|similar to|comparable (?:to|with)|alternative to|as|that of) "
    r"(?P<name>[a-z][a-z-]*-?v?\d[\w.-]*)"
)
"""What is compared with, and has a version: a model, though nobody knows its family."""


_GOES_ON = re.compile(r"-(?!(?:class|level|like|grade|quality|calib(?:re|er)|style)\b)[a-z0-9]")
"""The name is longer: "gpt-5-turbo" is not "gpt-5"."""


def model_mentions(text: str, names: Mapping[str, Sequence[int]]) -> list[Mention]:
    """Models named in a text.

    Args:
        text: In lower case.
        names: Names of the catalogue's models in plain writing; the longest that fits is taken, and two or more words
            may be the beginning of several.
    """
    found = _known(text, names) if names else []
    for match in VERSIONED.finditer(text):
        if not _taken(found, match.span()):
            found.append(_versioned(match[0], match.start(), names))
    for match in _STRANGER.finditer(text):
        if not _taken(found, match.span("name")):
            name = match["name"].rstrip(".-")
            found.append(_model(match.start("name"), match.start("name") + len(name), (plain(name),)))
    return found


def _taken(found: Sequence[Mention], span: tuple[int, int]) -> bool:
    return any(m.start < span[1] and span[0] < m.end for m in found)


def _model(start: int, end: int, names: tuple[str, ...]) -> Mention:
    return Mention("entity", start, end, attr="model", value=names)


def _known(text: str, names: Mapping[str, Sequence[int]]) -> list[Mention]:
    words = [(m[0].rstrip("."), m.start(), m.start() + len(m[0].rstrip("."))) for m in _WORD.finditer(text)]
    index = _index(names)
    found = []
    for first in range(len(words)):
        for last in range(min(len(words), first + _LONGEST), first, -1):
            spoken = " ".join(word for word, _, _ in words[first:last])
            start, end = words[first][1], words[last - 1][2]
            plainly = re.fullmatch(r"[\w.:/ -]+", text[start:end]) and re.search(r"\d", spoken)
            if (not plainly and last - first < 2) or _GOES_ON.match(text, end):
                continue
            meant = index.get(spoken)
            if meant and (last - first > 1 or re.search(r"[a-z].*\d", spoken)):
                found.append(_model(start, end, tuple(meant)))
                break
    return found


def _versioned(said: str, start: int, names: Mapping[str, Sequence[int]]) -> Mention:
    """A family with a version that is no whole name: the models it begins, or one nobody has."""
    name = re.sub(r"-(?:class|level|like|grade|quality|calib(?:re|er))$", "", said)
    spoken = plain(name)
    begun = tuple(each for each in names if each.startswith(spoken))
    if not begun:  # "gpt5" for "gpt 5"
        spaced = re.sub(r"(?<=[a-z])(?=\d)", " ", spoken)
        begun = tuple(each for each in names if each == spaced)
    return _model(start, start + len(name), begun if 0 < len(begun) <= _MOST else (spoken,))


_INDEXED: dict[int, tuple[Mapping[str, Sequence[int]], dict[str, list[str]]]] = {}


def _index(names: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """Name or beginning of a name (two words or more), cut as text is, to the names it stands for."""
    kept = _INDEXED.get(id(names))
    if kept is not None and kept[0] is names:
        return kept[1]
    index: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    for name in names:
        words = _WORD.findall(name)
        spoken = " ".join(words)
        whole.setdefault(spoken, []).append(plain(name))
        for count in range(2, len(words)):
            index.setdefault(" ".join(words[:count]), []).append(plain(name))
    index = {key: values for key, values in index.items() if len(values) <= _MOST} | whole
    _INDEXED.clear()
    _INDEXED[id(names)] = (names, index)
    return index
