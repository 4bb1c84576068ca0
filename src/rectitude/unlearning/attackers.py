"""Attackers: classifiers that try to read a private attribute off what a model holds of people.

The attacker sees the vectors of everybody and the attribute of most people, and guesses it for the others. Classes are
drawn down to the size of the smallest, so that guessing is right once in C; folds are stratified and shuffled; features
are standardised inside each fold, or a remedy could pass by merely shrinking vectors.

Letters: U people, C classes, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from rectitude.core.errors import ConfigError, DataError, MissingExtraError, did_you_mean
from rectitude.evaluation.intervals import CONFIDENCE, bootstrap_interval

Floats = npt.NDArray[np.floating[Any]]

FOLDS = 5
"""Parts of the cross-validation: the attacker knows 80 % of the labels."""
ATTACKERS = ("logistic", "mlp", "boosting", "knn")
"""The default set; ``rbf`` (a support vector machine) is known too."""
TITLES = {
    "logistic": "logistic regression",
    "mlp": "neural network",
    "boosting": "gradient boosting",
    "knn": "nearest neighbours",
    "rbf": "support vectors",
}


@dataclass(frozen=True)
class Attack:
    """What one attacker could tell.

    Attributes:
        attacker: Which one.
        accuracy: Balanced accuracy over the held-out people, mean over draws.
        low: Lower end of its interval over people.
        high: Upper end.
        chance: 1 / C.
        n: People of a balanced draw.
        auc: Area under the ROC curve for two classes, None for more.
    """

    attacker: str
    accuracy: float
    low: float
    high: float
    chance: float
    n: int
    auc: float | None

    @property
    def leakage(self) -> float:
        """Accuracy, or for two classes 1 minus it where that is more: being wrong more often than chance tells too."""
        return max(self.accuracy, 1 - self.accuracy) if self.chance == 0.5 else self.accuracy

    @property
    def ends(self) -> tuple[float, float]:
        """The interval of the leakage."""
        if self.chance == 0.5 and self.accuracy < 0.5:
            return 1 - self.high, 1 - self.low
        return self.low, self.high

    def to_dict(self) -> dict[str, Any]:
        """``{"attacker", "accuracy", "low", "high", "chance", "n", "auc"}``."""
        return {
            "attacker": self.attacker,
            "accuracy": self.accuracy,
            "low": self.low,
            "high": self.high,
            "chance": self.chance,
            "n": self.n,
            "auc": self.auc,
        }


def attack(
    features: Floats,
    labels: npt.NDArray[np.int64],
    *,
    attackers: Sequence[str] = ATTACKERS,
    draws: int = 3,
    seed: int = 4,
) -> dict[str, Attack]:
    """Let each attacker loose on the features.

    Args:
        features: [U, d].
        labels: [U], class of each person, -1 where unknown.
        attackers: Of :data:`TITLES`.
        draws: Balanced samples, each with a cross-validation of its own.
        seed: Of samples, folds and the attackers' own randomness.

    Raises:
        ConfigError: An attacker is unknown.
        DataError: A class has fewer people than there are folds, or there is only one class.
        MissingExtraError: scikit-learn is not installed.

    Source:
        Chen et al., "Making Users Indistinguishable: Attribute-wise Unlearning in Recommender Systems", ACM MM 2023,
        arXiv:2310.05847 (balanced sample, five folds, repeated; a network and boosted trees).
    """
    for name in attackers:
        if name not in TITLES:
            raise ConfigError(f"Unknown attacker '{name}'", fix=did_you_mean(name, TITLES))
    classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    if len(classes) < 2:
        raise DataError("An attacker needs at least two classes to tell apart")
    if sizes.min() < FOLDS:
        raise DataError(
            f"The smallest class has {sizes.min()} people, and an attack needs at least {FOLDS}",
            fix="Choose an attribute with larger classes",
        )
    samples = [balanced(labels, classes, int(sizes.min()), seed + draw) for draw in range(draws)]
    found = {}
    for name in attackers:
        parts = [
            _cross_validated(name, features[sample], labels[sample], seed + draw) for draw, sample in enumerate(samples)
        ]
        right = _by_person(samples, [part[0] for part in parts], len(labels))
        drawn = labels[np.flatnonzero(~np.isnan(right))]
        interval = bootstrap_interval(right[~np.isnan(right)], seed)
        accuracy = float(np.mean([part[0].mean() for part in parts]))
        spread = (float(interval.low or 0) - interval.value, float(interval.high or 0) - interval.value)
        widen = np.sqrt(len(drawn) / len(samples[0]))  # more people were drawn in all than any one accuracy is of
        auc = float(np.mean([part[1] for part in parts])) if len(classes) == 2 else None
        low, high = accuracy + widen * spread[0], accuracy + widen * spread[1]
        found[name] = Attack(name, accuracy, low, high, 1 / len(classes), len(samples[0]), auc)
    return found


def permutation_floor(
    features: Floats,
    labels: npt.NDArray[np.int64],
    *,
    attackers: Sequence[str] = ATTACKERS,
    permutations: int = 4,
    seed: int = 4,
) -> float:
    """What the strongest of these attackers reaches on labels that were dealt out at random.

    Each permutation is attacked as the real labels are (one balanced draw); the floor is the mean of the strongest
    attacker's accuracy plus 1.64 standard deviations, the 95 % point if those were normal.

    Args:
        features: [U, d].
        labels: [U], -1 where unknown.
        attackers: The same as were let loose on the real labels.
        permutations: Random dealings.
        seed: Of the dealings.
    """
    generator = np.random.default_rng(seed)
    known = np.flatnonzero(labels >= 0)
    reached = []
    for at in range(permutations):
        dealt = labels.copy()
        dealt[known] = generator.permutation(labels[known])
        found = attack(features, dealt, attackers=attackers, draws=1, seed=seed + 100 * (at + 1))
        reached.append(max(one.leakage for one in found.values()))
    quantile = 1.64 if CONFIDENCE == 0.95 else 2.0
    return float(np.mean(reached) + quantile * (np.std(reached, ddof=1) if permutations > 1 else 0.0))


def strongest(attacks: Mapping[str, Attack]) -> Attack:
    """The attacker that tells most."""
    return max(attacks.values(), key=lambda one: one.leakage)


def list_features(lists: npt.NDArray[np.integer[Any]], n_items: int, width: int = 64, seed: int = 0) -> Floats:
    """Recommended lists as vectors: which items, the first ones weighing more, in the directions that vary most.

    Args:
        lists: [U, K], best first, -1 where a list has ended.
        n_items: I.
        width: d, at most.
        seed: Of the decomposition.

    Returns:
        float64 [U, d].
    """
    rows, columns = np.nonzero(lists >= 0)
    weights = 1 / np.log2(columns + 2.0)
    bags = csr_array((weights, (rows, lists[rows, columns])), shape=(len(lists), n_items))
    rank = min(width, min(bags.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(min(bags.shape))
    left, values, _ = svds(bags, k=rank, v0=start)
    return np.asarray(left * values)


def balanced(
    labels: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], size: int, seed: int
) -> npt.NDArray[np.int64]:
    """Equally many people of each class, in random order."""
    generator = np.random.default_rng(seed)
    drawn = [generator.choice(np.flatnonzero(labels == label), size, replace=False) for label in classes]
    return generator.permutation(np.concatenate(drawn))


def _cross_validated(
    name: str, features: Floats, labels: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.float64], float]:
    """1 where a held-out person was guessed right (float64 [n]), and the area under the curve (two classes)."""
    try:
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        raise MissingExtraError("sklearn", "audit", "Attacking a model") from error
    right = np.zeros(len(labels))
    second = np.zeros(len(labels))
    top = labels.max()
    for learn, ask in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels):
        classifier = _classifier(name, seed, len(learn))
        _fit_quietly(classifier, features[learn], labels[learn])
        right[ask] = classifier.predict(features[ask]) == labels[ask]
        scored = classifier.decision_function if name == "rbf" else classifier.predict_proba
        second[ask] = scored(features[ask]).reshape(len(ask), -1)[:, -1]
    auc = float(roc_auc_score(labels == top, second)) if len(np.unique(labels)) == 2 else float("nan")
    return right, auc


def _fit_quietly(classifier: Any, features: Floats, labels: npt.NDArray[np.int64]) -> None:
    """Fit; an attacker that has not converged after its iterations is still an attacker."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(features, labels)


def _classifier(name: str, seed: int, n: int) -> Any:
    """A fresh attacker behind a standardiser."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    made = {
        "logistic": lambda: LogisticRegression(C=0.1, max_iter=500),
        "mlp": lambda: MLPClassifier((100,), alpha=1.0, max_iter=500, learning_rate_init=0.01, random_state=seed),
        "boosting": lambda: HistGradientBoostingClassifier(
            max_depth=4, max_iter=50, learning_rate=0.2, early_stopping=False, random_state=seed
        ),
        "knn": lambda: KNeighborsClassifier(n_neighbors=min(15, max(1, n // 10))),
        "rbf": lambda: SVC(),
    }
    return make_pipeline(StandardScaler(), made[name]())


def _by_person(
    samples: Sequence[npt.NDArray[np.int64]], right: Sequence[npt.NDArray[np.float64]], n_people: int
) -> npt.NDArray[np.float64]:
    """float64 [U], how often each person drawn was guessed right, NaN for those never drawn."""
    total, times = np.zeros(n_people), np.zeros(n_people)
    for sample, guessed in zip(samples, right, strict=True):
        total[sample] += guessed
        times[sample] += 1
    return np.asarray(np.divide(total, times, out=np.full(n_people, np.nan), where=times > 0))
