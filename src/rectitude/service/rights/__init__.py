"""People's rights: what is held of them, choices about items, and durable jobs that export, delete and forget."""

from rectitude.service.rights.asking import (
    approve,
    ask,
    object_to,
    retry,
    stop_item,
    undo_objection,
    undo_stop,
)
from rectitude.service.rights.export import export_file
from rectitude.service.rights.knowing import known_of

__all__ = [
    "approve",
    "ask",
    "export_file",
    "known_of",
    "object_to",
    "retry",
    "stop_item",
    "undo_objection",
    "undo_stop",
]
