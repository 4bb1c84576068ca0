"""Logistic regression and multi-layer perceptrons in NumPy, with gradients and local training.

Small models on tables: 0.1 ms a step, no framework to start in every client process, and the same bits wherever the
same NumPy runs. A method supplies the gradient of its loss by the logits; everything behind it is here.

Letters: B batch rows, d features, m classes, h hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rectitude.federated.contracts import Array, Arrays, Floats, Integers

Matrix = npt.NDArray[np.float32]
LogitGradient = Callable[[Matrix, Integers], Array]
"""Logits [B, m] and the rows' positions [B] to the gradient of the mean loss by the logits [B, m]."""

WEIGHTS = "theta/"
"""What the names of weights begin with, in messages and states."""
_MEAN, _SQUARE, _STEPS = "adam/mean/", "adam/square/", "adam/steps"
_DECAY_MEAN, _DECAY_SQUARE, _TINY = 0.9, 0.999, 1e-8


def softmax(logits: Array) -> Array:
    """Class probabilities [B, m] of logits [B, m], without overflow."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def cross_entropy(logits: Array, y: Integers) -> Floats:
    """Negative log-likelihood [B] of the true classes."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y], np.float64)


class Network:
    """A perceptron with ReLU layers; without hidden layers it is (multinomial) logistic regression.

    Its weights are a dictionary ``theta/LAYER/weight`` float32 [in, out] and ``theta/LAYER/bias`` float32 [out].

    Args:
        n_features: d.
        n_classes: m.
        hidden: Units of each hidden layer.
    """

    def __init__(self, n_features: int, n_classes: int, hidden: Sequence[int] = ()) -> None:
        self.sizes = (n_features, *hidden, n_classes)

    def initial(self, rng: np.random.Generator) -> Arrays:
        """Weights to begin with: He's for hidden layers, zeros for the last."""
        weights: Arrays = {}
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            last = layer == len(self.sizes) - 2
            drawn = rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out))
            weights[f"{WEIGHTS}{layer}/weight"] = (0 * drawn if last else drawn).astype(np.float32)
            weights[f"{WEIGHTS}{layer}/bias"] = np.zeros(n_out, np.float32)
        return weights

    def forward(self, weights: Arrays, X: Matrix) -> list[Matrix]:
        """Inputs of every layer and, last, the logits float32 [B, m]."""
        values = [X]
        for layer in range(len(self.sizes) - 1):
            out = values[-1] @ weights[f"{WEIGHTS}{layer}/weight"] + weights[f"{WEIGHTS}{layer}/bias"]
            values.append(out if layer == len(self.sizes) - 2 else np.maximum(out, 0, out=out))
        return values

    def logits(self, weights: Arrays, X: Matrix) -> Matrix:
        """float32 [B, m]."""
        return self.forward(weights, X)[-1]

    def proba(self, weights: Arrays, X: Matrix) -> Floats:
        """Class probabilities float64 [B, m]."""
        return np.asarray(softmax(self.logits(weights, X).astype(np.float64)))

    def backward(self, weights: Arrays, values: list[Matrix], by_logits: Array) -> Arrays:
        """Gradient by every weight.

        Args:
            weights: Where it is taken.
            values: What :meth:`forward` returned there.
            by_logits: Gradient of the loss by the logits [B, m].
        """
        gradients: Arrays = {}
        flowing = by_logits.astype(np.float32)
        for layer in range(len(self.sizes) - 2, -1, -1):
            gradients[f"{WEIGHTS}{layer}/weight"] = values[layer].T @ flowing
            gradients[f"{WEIGHTS}{layer}/bias"] = flowing.sum(0)
            if layer:
                flowing = (flowing @ weights[f"{WEIGHTS}{layer}/weight"].T) * (values[layer] > 0)
        return gradients

    @staticmethod
    def weights_in(arrays: Arrays) -> Arrays:
        """Only the weights of a message or state."""
        return {name: array for name, array in arrays.items() if name.startswith(WEIGHTS)}


def likelihood_gradient(y: Integers) -> LogitGradient:
    """Gradient of the mean cross-entropy against the classes ``y`` of all rows."""

    def gradient(logits: Matrix, at: Integers) -> Array:
        residual = softmax(logits)
        residual[np.arange(len(at)), y[at]] -= 1
        return np.asarray(residual / len(at))

    return gradient


def train_locally(
    network: Network,
    weights: Arrays,
    X: Matrix,
    by_logits: LogitGradient,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    moments: Arrays | None = None,
    weight_decay: float = 0.0,
    pull: Callable[[Arrays], Arrays] | None = None,
) -> tuple[Arrays, Arrays]:
    """Mini-batch steps of Adam on one client's rows, which are reshuffled whenever they are used up.

    Args:
        network: The model.
        weights: Where to begin; left as they are.
        X: All rows of the client.
        by_logits: Gradient of the batch's mean loss by the logits.
        steps: Mini-batches.
        batch_size: Rows of each, or all where there are fewer.
        learning_rate: Of Adam.
        rng: Of the shuffling.
        moments: Adam's, as returned last time; zeros where None or empty.
        weight_decay: L2 penalty added to the gradient.
        pull: A further gradient by the weights (FedProx's proximal term, for example).

    Returns:
        New weights and Adam's moments.
    """
    weights = {name: np.array(array, np.float32) for name, array in weights.items()}
    moments = moments or {}
    mean = {name: np.array(moments.get(_MEAN + name, 0 * array)) for name, array in weights.items()}
    square = {name: np.array(moments.get(_SQUARE + name, 0 * array)) for name, array in weights.items()}
    taken = int(moments.get(_STEPS, np.zeros((), np.int64)))
    size = min(batch_size, len(X))
    order, used = rng.permutation(len(X)), 0
    for _ in range(steps):
        if used + size > len(X):
            order, used = rng.permutation(len(X)), 0
        at = order[used : used + size]
        used += size
        values = network.forward(weights, X[at])
        gradients = network.backward(weights, values, by_logits(values[-1], at))
        pulled = pull(weights) if pull is not None else None
        taken += 1
        step = learning_rate * np.sqrt(1 - _DECAY_SQUARE**taken) / (1 - _DECAY_MEAN**taken)
        for name, gradient in gradients.items():
            if weight_decay:
                gradient = gradient + np.float32(weight_decay) * weights[name]
            if pulled is not None:
                gradient = gradient + pulled[name]
            mean[name] += np.float32(1 - _DECAY_MEAN) * (gradient - mean[name])
            square[name] += np.float32(1 - _DECAY_SQUARE) * (gradient * gradient - square[name])
            weights[name] -= np.float32(step) * mean[name] / (np.sqrt(square[name]) + np.float32(_TINY))
    new = {_MEAN + name: array for name, array in mean.items()} | {_SQUARE + n: array for n, array in square.items()}
    return weights, new | {_STEPS: np.asarray(taken, np.int64)}
