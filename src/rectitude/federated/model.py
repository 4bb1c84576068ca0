"""What a federation has made, ready to decide about new rows; Flower is not needed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.errors import QueryError, RunError, did_you_mean
from rectitude.core.files import write_bytes
from rectitude.federated.contracts import Array, Arrays, Floats, Integers, generator
from rectitude.federated.encoder import Encoder
from rectitude.federated.party import Scorer
from rectitude.federated.plan import Plan, dump, read_arrays, scoped, under
from rectitude.federated.tables import codes_of
from rectitude.runs.folder import MODEL, RunFolder

KIND = "federation"
_TIES = 10  # a purpose of random numbers


@dataclass
class FederatedModel:
    """Classifier of a federation: one shared part, and a part of its own for each client.

    Args:
        plan: Methods, settings, classes, groups and clients.
        stage: Number of the stage that decides.
        shared: Shared part of each stage's result.
        personal: Own part of each client, by its name and the stage's number.
        encoder: How columns become features; None where it was made from arrays.
        label: Column of the label.
        attribute: The sensitive attribute, as on the command line.
        scorer: Model of class probabilities, where post-processing was given one rather than trained one; one for all,
            or each client's by its name.
    """

    plan: Plan
    stage: int
    shared: dict[int, Arrays]
    personal: dict[str, dict[int, Arrays]] = field(default_factory=dict)
    encoder: Encoder | None = None
    label: str = ""
    attribute: str = ""
    scorer: Scorer | Mapping[str, Scorer] | None = None

    def predict(
        self,
        X: Array | pl.DataFrame,
        a: Array | Sequence[Any] | None = None,
        client: str | Sequence[str] | None = None,
    ) -> Array:
        """Class names of new rows.

        Args:
            X: Features [n, d], or a table with the columns the model was made from.
            a: Group of each row, by name or number; taken from the table where it has the attribute's columns.
            client: Whose rows they are, one name for all or one each; None decides with the shared part alone.

        Raises:
            QueryError: The method needs the group and it is not given, or a client or group is unknown.
            DataError: The table lacks a column.

        Returns:
            Text [n].
        """
        return np.asarray(self.plan.problem.classes)[self.decide(X, a, client)]

    def decide(
        self,
        X: Array | pl.DataFrame,
        a: Array | Sequence[Any] | None = None,
        client: str | Sequence[str] | None = None,
    ) -> Integers:
        """Class numbers of new rows; see :meth:`predict`."""
        features, groups = self._rows(X, a)
        method = self.plan.methods[self.stage]
        if method.uses_attribute and groups is None:
            raise QueryError(
                f"{method.title} decides by group, and the group of the rows is not given",
                fix="Give the sensitive attribute with the rows",
            )
        out = np.empty(len(features), np.int64)
        for name, rows in self._by_client(client, len(features)):
            personal = self.personal.get(name, {}) if name is not None else {}
            part = features[rows]
            given = {
                "X": part,
                "a": None if groups is None else groups[rows],
                "eta": self._base_probabilities(part, personal, name),
            }
            rng = generator(self.plan.problem, _TIES)
            out[rows] = method.decide(given, self.shared[self.stage], personal.get(self.stage, {}), rng)
        return out

    def predict_proba(self, X: Array | pl.DataFrame, client: str | None = None) -> Floats:
        """Class probabilities float64 [n, m] of the model underneath, before any post-processing.

        Raises:
            QueryError: The method has none.
        """
        features, _ = self._rows(X, None)
        personal = self.personal.get(client, {}) if client is not None else {}
        found = self._base_probabilities(features, personal, client)
        if found is None:
            method = self.plan.methods[self.stage]
            found = method.probabilities({"X": features}, self.shared[self.stage], personal.get(self.stage, {}))
        if found is None:
            raise QueryError(f"{self.plan.methods[self.stage].title} decides without probabilities")
        return found

    def _base_probabilities(self, features: Any, personal: dict[int, Arrays], client: str | None) -> Floats | None:
        if self.plan.methods[self.stage].stage != "post":
            return None
        base = self.plan.stages[self.stage].base
        if base is not None:
            return self.plan.methods[base].probabilities({"X": features}, self.shared[base], personal.get(base, {}))
        scorer = self.scorer.get(client or "") if isinstance(self.scorer, Mapping) else self.scorer
        if scorer is None:
            raise QueryError(
                "There is no model of class probabilities for these rows",
                fix="Say whose rows they are with client=" if self.scorer else "Give it as scorer=: it is not saved",
            )
        return np.asarray(scorer(features), np.float64)

    def _rows(self, X: Array | pl.DataFrame, a: Any) -> tuple[Any, Integers | None]:
        groups = self._groups(a) if a is not None else None
        if isinstance(X, pl.DataFrame):
            if self.encoder is None:
                raise QueryError("The model was made from arrays, not from a table", fix="Give an array")
            needed = self.plan.methods[self.stage].uses_attribute
            if groups is None and needed:
                groups = codes_of(X, self.attribute, self.plan.problem.groups)
            return self.encoder.transform(X), groups
        features = np.asarray(X, np.float32)
        if features.ndim != 2 or features.shape[1] != self.plan.problem.n_features:
            raise QueryError(f"Rows of {self.plan.problem.n_features} features are wanted, not {features.shape}")
        if groups is not None and len(groups) != len(features):
            raise QueryError(f"There are {len(features)} rows and {len(groups)} groups")
        return features, groups

    def _groups(self, a: Any) -> Integers:
        known = self.plan.problem.groups
        values = np.asarray(a)
        if values.dtype.kind in "iu":
            if ((values < 0) | (values >= len(known))).any():
                raise QueryError(f"Groups are numbered 0 to {len(known) - 1}")
            return values.astype(np.int64)
        unknown = sorted({str(value) for value in values.tolist()} - set(known))
        if unknown:
            raise QueryError(f"There is no group '{unknown[0]}'", fix=did_you_mean(unknown[0], known))
        return np.asarray([known.index(str(value)) for value in values.tolist()], np.int64)

    def _by_client(self, client: str | Sequence[str] | None, n: int) -> list[tuple[str | None, Array]]:
        if client is None:
            return [(None, np.arange(n))]
        names = np.full(n, client) if isinstance(client, str) else np.asarray(client)
        if len(names) != n:
            raise QueryError(f"There are {n} rows and {len(names)} names of clients")
        unknown = sorted(set(names.tolist()) - set(self.plan.problem.clients))
        if unknown:
            raise QueryError(
                f"There is no client '{unknown[0]}'", fix=did_you_mean(unknown[0], self.plan.problem.clients)
            )
        return [(str(name), np.flatnonzero(names == name)) for name in np.unique(names)]

    # ---- on disk ---------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """What a run folder's ``config.json`` must say for :meth:`load`."""
        return {
            "kind": KIND,
            "plan": self.plan.json(),
            "stage": self.stage,
            "columns": list(self.encoder.columns) if self.encoder is not None else None,
            "label": self.label,
            "attribute": self.attribute,
        }

    def write(self, folder: Path) -> None:
        """Write the arrays into a folder under construction."""
        arrays: Arrays = {}
        for stage, shared in self.shared.items():
            arrays |= under(f"shared/{stage}", shared)
        for index, name in enumerate(self.plan.problem.clients):
            for stage, personal in self.personal.get(name, {}).items():
                arrays |= under(f"personal/{index}/{stage}", personal)
        write_bytes(folder / MODEL, dump(arrays))

    @classmethod
    def load(cls, run: str | Path | RunFolder, scorer: Scorer | Mapping[str, Scorer] | None = None) -> FederatedModel:
        """The model of a run folder.

        Args:
            run: The folder.
            scorer: Model of class probabilities where the run was given one: it is not saved with the run.

        Raises:
            RunError: The folder is no federation's run, or damaged.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder(run)
        config = folder.config
        if config.get("kind") != KIND:
            raise RunError("The run is not one of a federation", where=str(folder.path))
        plan = Plan.from_json(config["plan"])
        arrays = read_arrays(folder.file(MODEL))
        stages = range(len(plan.stages))
        shared = {stage: scoped(arrays, f"shared/{stage}") for stage in stages}
        personal = {
            name: {stage: scoped(arrays, f"personal/{index}/{stage}") for stage in stages}
            for index, name in enumerate(plan.problem.clients)
        }
        encoder = Encoder(tuple(config["columns"])) if config["columns"] is not None else None
        return cls(plan, config["stage"], shared, personal, encoder, config["label"], config["attribute"], scorer)
