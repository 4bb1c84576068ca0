"""Decisions: a plan for a person from a model's prediction, a language model for a request from what people ask for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rectitude.decisions.plans import Prescriber
    from rectitude.decisions.routing.router import Router

__all__ = ["Prescriber", "Router"]

_ROOMS = {"Prescriber": "rectitude.decisions.plans", "Router": "rectitude.decisions.routing.router"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'rectitude.decisions' has no attribute '{name}'")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
