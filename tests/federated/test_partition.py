"""Every row goes to exactly one client and one part; rules do what they say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError, DataError
from rectitude.federated.clients import federation_of
from rectitude.federated.partition import PARTS, SHARES, Partition, cut, deal
from rectitude.federated.tables import People, read_people

RULES = ["iid", "dirichlet:0.5", "dirichlet:5:label", "dirichlet:1:cell"]


@pytest.fixture(scope="module")
def people(table: pl.DataFrame) -> People:
    return read_people(table)


@pytest.mark.parametrize("rule", RULES)
def test_every_row_has_one_client(people: People, rule: str) -> None:
    rows, names = deal(people, Partition.parse(rule), 6, 0)
    assert names == [f"client-{k}" for k in range(6)]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(people)))
    assert min(len(own) for own in rows) >= 10


@pytest.mark.parametrize("rule", RULES)
def test_the_same_seed_deals_alike_and_another_one_does_not(people: People, rule: str) -> None:
    first, again, other = (deal(people, Partition.parse(rule), 4, seed)[0] for seed in (1, 1, 2))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert any(len(one) != len(two) or (one != two).any() for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize(("over", "codes"), [("group", "a"), ("label", "y")])
def test_a_small_concentration_skews_what_it_is_over(people: People, over: str, codes: str) -> None:
    """Spread of the clients' shares of code 1, against iid."""

    def spread(rule: str) -> float:
        shares = [
            getattr(people, codes)[own].mean()
            for seed in range(5)
            for own in deal(people, Partition.parse(rule), 4, seed)[0]
        ]
        return float(np.std(shares))

    assert spread(f"dirichlet:0.5:{over}") > 3 * spread("iid")
    assert spread(f"dirichlet:0.5:{over}") > 2 * spread(f"dirichlet:100:{over}")


def test_every_client_has_twenty_rows_of_every_group_where_that_can_be(people: People) -> None:
    rows, _ = deal(people, Partition.parse("dirichlet:0.5"), 5, 0)
    assert min(np.bincount(people.a[own], minlength=2).min() for own in rows) >= 20


def test_where_it_cannot_be_it_is_said(people: People) -> None:
    said: list[str] = []
    deal(people, Partition.parse("dirichlet:0.2"), 12, 0, said.append)
    assert len(said) == 1
    assert "20 rows of every group" in said[0]


def test_values_of_a_column_are_clients_the_largest_first(table: pl.DataFrame, people: People) -> None:
    rows, names = deal(people, Partition.parse("column:site"), None, 0)
    assert names == ["north", "south", "west"]
    assert all(set(table["site"].gather(own)) == {name} for own, name in zip(rows, names, strict=True))
    said: list[str] = []
    assert deal(people, Partition.parse("column:site"), 2, 0, said.append)[1] == ["north", "south"]
    assert said == ["The 2 largest of 3 values of 'site' are the clients"]
    federation = federation_of(table, partition="column:site")
    assert "site" not in [column["name"] for column in federation.encoder.columns]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([SHARES, (0.6, 0.0, 0.0, 0.4), (1, 1, 1, 1)]))
def test_parts_are_disjoint_whole_and_of_their_shares(seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {"x": rng.normal(size=300), "gender": rng.choice(["f", "m"], 300), "label": rng.integers(0, 3, 300)}
    )
    people = read_people(frame)
    rows = np.sort(rng.choice(300, 200, replace=False))
    parts = cut(rows, people, rng, shares)
    np.testing.assert_array_equal(np.sort(np.concatenate([parts[name] for name in PARTS])), rows)
    for name, share in zip(PARTS, shares, strict=True):
        assert abs(len(parts[name]) - 200 * share / sum(shares)) <= 6  # one row at most for each of six cells
        for cell in range(6):
            here = (people.a * 3 + people.y)[rows] == cell
            got = (people.a * 3 + people.y)[parts[name]] == cell
            assert abs(got.sum() - here.sum() * share / sum(shares)) <= 1.0 + 1e-9


def test_rows_of_one_person_are_never_parted(people: People) -> None:
    from dataclasses import replace

    several = replace(people, unit=np.arange(len(people)) // 3)
    for rule in RULES:
        rows, _ = deal(several, Partition.parse(rule), 4, 0)
        for own in rows:
            assert len(own) % 3 == 0
            for part in cut(own, several, np.random.default_rng(0)).values():
                assert len(part) == 3 * len(np.unique(several.unit[part]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dirichelt:0.5", "is no partition"),
        ("dirichlet:x", "'x' is no concentration"),
        ("dirichlet:0", "must be above 0"),
        ("dirichlet:nan", "must be above 0"),
        ("dirichlet:1:labels", "Did you mean 'label'?"),
        ("column:", "is no partition"),
        ("iid:3", "is no partition"),
    ],
)
def test_mistyped_partitions(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        Partition.parse(text)


def test_partitions_that_cannot_be(people: People, table: pl.DataFrame) -> None:
    with pytest.raises(ConfigError, match="2 to 1000 clients, not 1"):
        deal(people, Partition.parse("iid"), 1, 0)
    with pytest.raises(DataError, match="too few for 500 clients"):
        deal(people, Partition.parse("iid"), 500, 0)
    with pytest.raises(ConfigError, match=r"no column 'sit'.*Did you mean 'site'"):
        deal(people, Partition.parse("column:sit"), None, 0)
    with pytest.raises(DataError, match="some client always had fewer than 10 rows"):
        deal(people, Partition.parse("dirichlet:0.01"), 60, 0)


def test_a_group_that_a_client_lacks_is_said(table: pl.DataFrame) -> None:
    mixed = table.with_columns(pl.when(pl.col("site") == "west").then(pl.lit("a")).otherwise("gender").alias("gender"))
    said: list[str] = []
    federation_of(mixed, partition="column:site", announce=said.append)
    assert "Groups without rows at a client: west has no b" in said
