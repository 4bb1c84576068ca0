"""The pages: explore, compare, audit, me, plan, route, runs; rendered on the server, complete without a script."""

from __future__ import annotations

from fastapi import APIRouter

from rectitude.service.pages import audit, compare, door, explore, me, plan, route, runs
from rectitude.service.pages.door import error_page

__all__ = ["error_page", "is_page", "router"]

API_PATHS = ("/v1", "/health", "/metrics", "/openapi.json", "/docs")
"""Where errors are problems in JSON rather than pages."""


def is_page(path: str) -> bool:
    """Does a path belong to the pages, so that a person reads what goes wrong there?"""
    return not any(path == start or path.startswith(f"{start}/") for start in API_PATHS)


def router() -> APIRouter:
    """All pages."""
    made = APIRouter(include_in_schema=False)
    for module in (door, explore, compare, audit, me, plan, route, runs):
        made.include_router(module.router)
    return made
