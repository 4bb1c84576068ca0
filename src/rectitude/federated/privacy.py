"""Differential privacy of the count and dual messages: noise at the clients, and what it adds up to.

One row more or less changes a field by at most Δ in L2: 1 for counts and histograms, twice the clipping norm for
messages that are clipped. Gaussian noise of standard deviation z·Δ on the sum makes each release 1/(2z²)-zCDP, releases
add up, and ρ-zCDP is (ρ + 2√(ρ ln(1/δ)), δ)-differential privacy. Where replies are masked each of n clients adds 1/√n
of the noise, so that the sum has all of it; otherwise each adds all of it. It covers what is noised and nothing else:
weights of models are not.

Source: Bun and Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower Bounds", TCC 2016,
arXiv 1605.02065, proposition 1.6 (Gaussian), lemma 1.7 (composition) and proposition 1.3 (conversion).
"""

from __future__ import annotations

import math

import numpy as np

from rectitude.federated.contracts import Array, Field, Floats


def clipped(values: Array, norm: float) -> Floats:
    """The values, shortened to an L2 norm of ``norm`` where they are longer."""
    values = np.asarray(values, np.float64)
    length = float(np.linalg.norm(values))
    return values * min(1.0, norm / length) if length > 0 else values


def bound(field: Field) -> float | None:
    """By how much one row changes a field in L2, or None where nothing bounds it."""
    if field.sensitivity is not None:
        return field.sensitivity
    return 2 * field.clip if field.clip is not None else None


def is_noised(field: Field) -> bool:
    """Whether a field gets noise where privacy is asked for: those that are secure and that something bounds."""
    return field.secure and bound(field) is not None


def noised(values: Array, field: Field, multiplier: float, n_sharing: int, rng: np.random.Generator) -> Floats:
    """A client's reply as it may leave it.

    Args:
        values: The reply.
        field: Says how it is bounded.
        multiplier: z.
        n_sharing: Clients that share the noise of the sum; 1 where replies are not masked.
        rng: Must not be known to the server: the caller seeds it from the system.
    """
    sensitivity = bound(field)
    if sensitivity is None:
        raise ValueError(f"Nothing bounds the field '{field.name}'")
    exact = clipped(values, field.clip) if field.sensitivity is None and field.clip else np.asarray(values, np.float64)
    return exact + rng.normal(0.0, multiplier * sensitivity / math.sqrt(n_sharing), exact.shape)


def epsilon(releases: int, multiplier: float, delta: float) -> float:
    """ε after a number of releases at one noise multiplier.

    Args:
        releases: Noised fields sent so far, over all exchanges.
        multiplier: z.
        delta: δ.
    """
    rho = releases / (2 * multiplier**2)
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))
