"""Counters of the service for Prometheus, in a registry of their own; every label has few values."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that names the folder by which several workers add up their counters."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("rectitude_requests_total", "Requests answered", ("method", "route", "status"), **made)
        self.seconds = Histogram(
            "rectitude_request_seconds", "From the first byte to the last", ("route",), buckets=_SECONDS, **made
        )
        self.in_flight = Gauge(
            "rectitude_requests_in_flight", "Requests being answered", multiprocess_mode="livesum", **made
        )
        self.lists = Counter("rectitude_lists_total", "Lists made", ("slot", "answered_by"), **made)
        self.batch = Histogram("rectitude_batch_questions", "Questions computed together", buckets=_SIZES, **made)
        self.events = Counter("rectitude_events_total", "Events sent in", ("outcome",), **made)
        self.swaps = Counter("rectitude_swaps_total", "Runs put into a slot", ("slot",), **made)

    def text(self) -> bytes:
        """All of it in Prometheus' text format, of all workers where there are several."""
        registry = self.registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
