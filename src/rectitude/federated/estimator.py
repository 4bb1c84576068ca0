"""Federations behind scikit-learn's interface: arrays in, a fair classifier out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.core.errors import ConfigError, DataError, MissingExtraError
from rectitude.federated.clients import federation_of_arrays
from rectitude.federated.contracts import Array, Criterion, FairConfig, Floats
from rectitude.federated.frontier import Figures, figures
from rectitude.federated.model import FederatedModel
from rectitude.federated.partition import SHARES
from rectitude.federated.party import Scorer
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import find
from rectitude.federated.run import in_process, new_run_id

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise MissingExtraError("sklearn", "fed", "The federated estimator") from error


class FederatedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier trained, or made fair, over clients that do not share rows.

    With a post-processing method, ``estimator`` is any scikit-learn classifier with ``predict_proba``. A fitted one is
    used by every client as it is; of an unfitted one every client fits a copy on its own rows, which never leaves it.
    Without one, ``base`` trains a logistic regression or perceptron in the federation.

    Args:
        method: Name of the method.
        criterion: ``dp``, ``eop``, ``eo`` or ``eo_full``.
        global_tolerance: Largest gap over all clients; None for no bound.
        local_tolerance: Largest gap at each client, or one per client; None for no bound.
        settings: Further settings of the method.
        estimator: Model of class probabilities for a post-processing method.
        base: Method that trains one where none is given.
        base_settings: Its settings.
        shares: Of train, valid, calibration and test in every client.
        secure: Mask counts and duals.
        seed: Of everything random.

    Attributes:
        classes_: Classes, in order.
        groups_: Groups, in order.
        clients_: Clients, in order.
        figures_: Accuracy and gaps on the rows held out for testing.
        model_: The :class:`~rectitude.federated.model.FederatedModel`.
    """

    def __init__(
        self,
        method: str = "fedfact-post",
        *,
        criterion: Criterion = "dp",
        global_tolerance: float | None = 0.01,
        local_tolerance: float | Mapping[str, float] | None = 0.02,
        settings: Mapping[str, Any] | None = None,
        estimator: Any = None,
        base: str = "fedavg",
        base_settings: Mapping[str, Any] | None = None,
        shares: Sequence[float] = SHARES,
        secure: bool = True,
        seed: int = 0,
    ) -> None:
        self.method = method
        self.criterion = criterion
        self.global_tolerance = global_tolerance
        self.local_tolerance = local_tolerance
        self.settings = settings
        self.estimator = estimator
        self.base = base
        self.base_settings = base_settings
        self.shares = shares
        self.secure = secure
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, *, sensitive: npt.ArrayLike, client: npt.ArrayLike) -> Any:
        """Run the federation.

        Args:
            X: Features [n, d], without the sensitive attribute.
            y: Classes [n].
            sensitive: Group of each row [n].
            client: Whose row each is [n].

        Raises:
            DataError: Lengths differ, features are not finite, or there are fewer than two classes, groups or clients.
            ConfigError: A setting is unknown, or an estimator is given to a method that trains its own model.
            InfeasibleError: The tolerances cannot be kept.
        """
        kind = find(self.method)
        federation = federation_of_arrays(X, y, sensitive, client, shares=self.shares, seed=self.seed)
        settings = dict(self.settings or {})
        if issubclass(kind.Config, FairConfig):
            bounds = {"global_tolerance": self.global_tolerance, "local_tolerance": self.local_tolerance}
            settings = {"criterion": self.criterion, **bounds, **settings}
        main = Stage(self.method, settings)
        scorers: dict[str, Scorer] | None = None
        if kind.stage == "training":
            if self.estimator is not None:
                raise ConfigError(f"{kind.title} trains its own model", where="estimator", fix="Leave it out")
            stages: tuple[Stage, ...] = (main,)
        elif self.estimator is None:
            stages = (Stage(self.base, dict(self.base_settings or {})), Stage(self.method, settings, base=0))
        else:
            stages = (main,)
            scorers = {data.name: self._scorer(data.train, federation.problem.classes) for data in federation.clients}
        plan = Plan(
            new_run_id(),
            federation.problem,
            stages,
            self.criterion,
            self.secure,
            min_clients=federation.problem.n_clients,
        )
        in_order = [scorers[data.name] for data in federation.clients] if scorers is not None else None
        done = in_process(plan, federation.clients, scorers=in_order)
        last = len(stages) - 1
        shared = {stage: done.progress.shared(stage) for stage in range(len(stages))}
        self.model_ = FederatedModel(plan, last, shared, done.personal, scorer=scorers)
        measured = done.progress.evaluation(last, "test")
        self.figures_: Figures = figures(self.method, "", measured, self.criterion)
        self.classes_ = np.unique(np.asarray(y))
        self.groups_, self.clients_ = federation.problem.groups, federation.problem.clients
        self.n_features_in_ = federation.problem.n_features
        return self

    def predict(
        self, X: npt.ArrayLike, *, sensitive: npt.ArrayLike | None = None, client: str | Sequence[str] | None = None
    ) -> Array:
        """Classes [n].

        Args:
            X: Features [n, d].
            sensitive: Group of each row, where the method decides by group.
            client: Whose rows they are, one name for all or one each; None decides with the shared part alone.

        Raises:
            QueryError: The method needs the group and it is not given, or a client or group is unknown.
        """
        check_is_fitted(self)
        groups = None if sensitive is None else [str(value) for value in np.asarray(sensitive).tolist()]
        who = client if client is None or isinstance(client, str) else [str(name) for name in client]
        return np.asarray(self.classes_[self.model_.decide(np.asarray(X), groups, who)])

    def predict_proba(self, X: npt.ArrayLike, *, client: str | None = None) -> Floats:
        """Class probabilities [n, m] of the model underneath, before any post-processing."""
        check_is_fitted(self)
        return self.model_.predict_proba(np.asarray(X), client)

    def _scorer(self, rows: Any, classes: Sequence[str]) -> Scorer:
        """Class probabilities in the order of the federation's classes; 0 for a class the model was not fitted on."""
        model = self.estimator
        try:
            check_is_fitted(model)
            own = [str(value) for value in model.classes_]
        except NotFittedError:
            model = clone(model).fit(rows.X, rows.y)
            own = [classes[int(value)] for value in model.classes_]
        if not hasattr(model, "predict_proba"):
            raise ConfigError("The estimator has no predict_proba", where="estimator", fix="Give one that has")
        if unknown := set(own) - set(classes):
            raise DataError(
                f"The estimator knows classes that y has not: {', '.join(sorted(unknown))}", where="estimator"
            )
        columns = [classes.index(name) for name in own]

        def probabilities(X: Array) -> Array:
            out = np.zeros((len(X), len(classes)))
            out[:, columns] = model.predict_proba(X)
            return out

        return probabilities
