from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from rectitude.federated.clients import Federation, federation_of


def applicants(n: int = 2400, seed: int = 0) -> pl.DataFrame:
    """A table in which group b is accepted less often, by a proxy and outright; `site` is where somebody applied."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], p=[0.6, 0.4], size=n)
    merit = rng.normal(size=n)
    proxy = rng.normal(size=n) + np.where(group == "b", 2.0, 0.0)
    accepted = merit - 1.5 * (group == "b") + 0.4 * rng.normal(size=n) > 0
    return pl.DataFrame(
        {
            "merit": merit,
            "proxy": proxy,
            "kind": rng.choice(["x", "y", "z"], size=n),
            "site": rng.choice(["north", "south", "west"], p=[0.5, 0.3, 0.2], size=n),
            "gender": group,
            "label": np.where(accepted, "yes", "no"),
        }
    )


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    """2,400 applicants."""
    return applicants()


@pytest.fixture(scope="session")
def federation(table: pl.DataFrame) -> Federation:
    """The applicants dealt to four clients."""
    return federation_of(table, n_clients=4, partition="dirichlet:1", seed=3)


@pytest.fixture(scope="session")
def sized(table: pl.DataFrame) -> Callable[[int], Federation]:
    """The applicants dealt to any number of clients."""
    return lambda n: federation_of(table, n_clients=n, partition="dirichlet:5", seed=3)
