"""Ids in addresses: whatever they hold, slashes too."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor

_SLASH = "\ue02f"
"""Stands for a slash inside one part of an address; a private character."""


def keep_slashes(raw: bytes) -> str:
    """The path of an address in which ``%2F`` does not divide: ids may hold slashes."""
    return unquote(re.sub("%2[fF]", quote(_SLASH), raw.partition(b"?")[0].decode("ascii", "replace")))


class _Identifier(Convertor[str]):
    """One part of an address, slashes and all: ``{item_id:id}``."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(_SLASH, "/")

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("id", _Identifier())
