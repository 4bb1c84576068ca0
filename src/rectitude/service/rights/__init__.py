"""People's rights: what is held of them, choices about items, and durable jobs that export, delete and forget."""

from rectitude.service.rights.asking import (
    approve,
    ask,
    object_to,
    retry,
    share,
    stop_item,
    undo_objection,
    undo_stop,
)
from rectitude.service.rights.export import export_file
from rectitude.service.rights.knowing import known_of
from rectitude.service.rights.remedy import ask_remedy, put_into_service, trains_again

__all__ = [
    "approve",
    "ask",
    "ask_remedy",
    "export_file",
    "known_of",
    "object_to",
    "put_into_service",
    "retry",
    "share",
    "stop_item",
    "trains_again",
    "undo_objection",
    "undo_stop",
]
