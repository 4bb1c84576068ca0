"""D2D to chance: the classes' vectors distributed as if the attribute had been dealt out at random.

Finite classes differ even where an attribute is unrelated to the vectors. Making them differ *less* than that tells the
attribute again: whoever is held out of an attacker's sample shows by their absence, and the attacker is wrong more
often than chance. So the classes are not drawn to each other. Everybody's labels are dealt out anew once, and each
class is drawn, by MMD², to the original vectors of the people dealt into it: what is left is what chance would leave.

* MMD² with the published sum of Gaussian kernels is computed by random Fourier features, so a step is linear in people.
  A step draws its own frequencies, in orthogonal blocks. Twice a frequency is one of a kernel a quarter as wide, and
  its cosine and sine follow from those there are, so that only two kernels of five need any. Beside all coordinates
  together, the sorted values of some coordinates, a quarter of them in a step, are matched to those of the deal
  (one-dimensional Wasserstein distance), which trees see and kernels over many coordinates do not.
* A bandwidth or coordinate weighs by the share of its discrepancy that chance does not explain (a Wiener weight, signal
  over signal and noise); a kernel by what it tells after the start.
* Of several deals that is taken whose discrepancy is nearest, by every kernel, to what deals have on average.
* Half-way from their own noise to that of a deal the classes would have less of it than chance. A small term keeps the
  discrepancy of every kernel where it is by chance, from above and from below. Alone it does not do: the attribute can
  stay in one direction while the others make up for it.

Letters: n people of known class, C classes, R frequencies of a kernel, d width.

Source: Chen et al., arXiv:2310.05847 (MMD), Rahimi and Recht, "Random Features for Large-Scale Kernel Machines",
NIPS 2007, algorithm 1; Yu et al., "Orthogonal Random Features", NIPS 2016. The deal and the weights are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rectitude.unlearning.distinguishability import N_KERNELS, bandwidth

N_FREQUENCIES = 200
"""Of each kernel, by which deals and kernels are weighed."""
N_DRAWN = 100
"""Of each kernel in a step."""
N_DEALS = 64
"""Random deals of which one is taken."""
BALANCE = 0.005
"""Weight of the term that keeps the whole discrepancy at chance."""
N_PEOPLE = 943
"""People the weights were chosen for (MovieLens-100K); chance leaves 1/n, so with more of them less may be left."""
_QUANTILES = 64


@dataclass(eq=False)
class _View:
    """One table, or all side by side.

    Attributes:
        start: float [n, d], the original vectors.
        frequencies: float [d, 2 R], as :func:`_frequencies` draws them.
        features: float [n, 2 N_KERNELS R], cosines and sines of the original vectors.
        kernels: float [N_KERNELS], weight of each kernel, the widest first.
        coordinates: float [d], weights; None where the coordinates are other views' already.
        width: Of the narrowest kernel.
        into: Per class the positions of the people dealt into it, int64 [n_c].
        ordered: Per class the sorted coordinates of its deal, float [n_c, d].
    """

    start: Tensor
    width: Tensor
    frequencies: Tensor
    features: Tensor
    kernels: Tensor
    coordinates: Tensor | None = None
    into: list[Tensor] = field(default_factory=list)
    ordered: list[Tensor] = field(default_factory=list)


class Dealt:
    """Draws each class to one random deal of everybody, in several views of the same people at once.

    Args:
        views: Name to float [n, d], original vectors; where there are several, the last holds the others side by side.
        labels: int64 [n], class of each, none unknown.
        generator: Of frequencies and deals.
        marginals: Weight of the coordinates one by one.
    """

    def __init__(
        self, views: Mapping[str, Tensor], labels: Tensor, generator: torch.Generator, *, marginals: float
    ) -> None:
        self.labels, self.generator, self.marginals = labels, generator, marginals
        self.classes = labels.unique().tolist()
        self.people = self._dealt_into(labels)
        self.views = {
            name: self._view(vectors, alone=len(views) == 1 or at < len(views) - 1)
            for at, (name, vectors) in enumerate(views.items())
        }
        self.deal()

    def deal(self) -> None:
        """Choose what the classes are drawn to: of some random deals, the one whose excess is nearest to none."""
        deals = [self._deal() for _ in range(N_DEALS)]
        odd = [self._excess(view.features, deals).abs().max(1).values for view in self.views.values()]
        chosen = self._dealt_into(deals[int(torch.stack(odd).max(0).values.argmin())])
        for view in self.views.values():
            view.into = chosen
            view.ordered = [_in_order(view.start[rows]) for rows in chosen]

    def weigh(self, views: Mapping[str, Tensor]) -> None:
        """Weigh the kernels by what they tell of these vectors, after a start that has left less to tell.

        Narrow kernels that tell little would draw people from their like and to the others near by until neighbours are
        of another class more often than by chance.

        Args:
            views: float [n, d] each.
        """
        for name, vectors in views.items():
            view = self.views[name]
            view.kernels = self._kernels(_features(vectors, view.frequencies))

    def loss(self, views: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Sum over views and classes of MMD² to the deal, of the coordinates' distances to it, and of the balance.

        Distances count n / :data:`N_PEOPLE` times: they are judged by what chance would leave, which falls as 1/n.

        Args:
            views: The vectors as they are now, float [n, d] each.
            generator: Of the frequencies of this step.
        """
        apart = balance = self.labels.new_zeros((), dtype=torch.float32)
        for name, vectors in views.items():
            view = self.views[name]
            # New frequencies every step: few of them would be matched and all others left as they were.
            frequencies = _frequencies(vectors.shape[1], N_DRAWN, view.width, generator)
            weights = view.kernels.repeat_interleave(N_DRAWN)
            means = []
            for at, rows in enumerate(self.people):
                own = vectors[rows]
                means.append(mean_features(own, frequencies))
                aim = mean_features(view.start[view.into[at]], frequencies)
                apart = apart + N_KERNELS * (weights * (means[-1] - aim).square()).sum(0).mean()
                if view.coordinates is not None and self.marginals:
                    some = torch.randperm(own.shape[1], generator=generator)[: -(-own.shape[1] // 4)].to(own.device)
                    moved = (_sorted(own[:, some]) - view.ordered[at][:, some]).square().mean(0)
                    apart = apart + self.marginals * (view.coordinates[some] * moved).mean()
            balance = balance + self._excess_of(torch.stack(means)[None])[0].square().log1p().sum()
        return len(self.labels) / N_PEOPLE * apart + BALANCE * balance

    def _view(self, vectors: Tensor, *, alone: bool) -> _View:
        """Frequencies, features and weights; ``alone`` where nobody else has these coordinates."""
        width = bandwidth(vectors)
        frequencies = _frequencies(vectors.shape[1], N_FREQUENCIES, width, self.generator)
        features = _features(vectors, frequencies)
        view = _View(vectors, width, frequencies, features, self._kernels(features))
        if alone and self.marginals:
            own = self._spread(vectors, self.labels)
            chance = torch.stack([self._spread(vectors, self._deal()) for _ in range(4)]).mean(0)
            view.coordinates = (1 - chance / own.clamp(min=1e-12)).clamp(min=0.0)
        return view

    def _kernels(self, features: Tensor) -> Tensor:
        """float [N_KERNELS]: the share of each kernel's discrepancy that chance does not explain."""
        excess = self._excess(features, [self.labels])[0].clamp(min=0.0)
        return excess / (1 + excess)

    def _excess(self, features: Tensor, deals: Sequence[Tensor]) -> Tensor:
        """By how much the classes are further apart than chance makes them, float [deals, N_KERNELS].

        Σ_c n_c |μ_c − μ|² over (C − 1) n / (n − 1) (1 − |μ|²), its mean over deals, less 1.
        """
        members = torch.stack([labels == label for labels in deals for label in self.classes]).to(features.dtype)
        sizes = members.sum(1, keepdim=True)
        return self._excess_of((members @ features / sizes).view(len(deals), len(self.classes), 2, -1))

    def _excess_of(self, means: Tensor) -> Tensor:
        """The same from the classes' mean features, float [deals, C, 2, R]."""
        n, n_classes = len(self.labels), len(self.classes)
        sizes = torch.tensor([len(rows) for rows in self.people], dtype=means.dtype, device=means.device)
        shares = (sizes / n)[:, None, None]
        mean = (shares * means).sum(1, keepdim=True)
        between = n * (shares * (means - mean).square()).sum((1, 2))
        expected = (n_classes - 1) * n / (n - 1) * (1 - mean.square().sum((1, 2)))
        above, below = (one.view(len(means), N_KERNELS, -1).sum(2) for one in (between, expected))
        return above / below.clamp(min=1e-12) - 1

    def _spread(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """float [d], squared distance of each coordinate's quantiles between classes and everybody."""
        at = (torch.arange(_QUANTILES, device=vectors.device) + 0.5) / _QUANTILES
        everybody = _quantiles(vectors, at)
        parts = [
            len(rows) * (_quantiles(vectors[rows], at) - everybody).square().mean(0)
            for rows in self._dealt_into(labels)
        ]
        return torch.stack(parts).sum(0)

    def _deal(self) -> Tensor:
        """int64 [n], the labels in random order."""
        return self.labels[torch.randperm(len(self.labels), generator=self.generator).to(self.labels.device)]

    def _dealt_into(self, labels: Tensor) -> list[Tensor]:
        """Positions of each class's people."""
        return [torch.nonzero(labels == label).squeeze(1) for label in self.classes]


def _frequencies(d: int, count: int, width: Tensor, generator: torch.Generator) -> Tensor:
    """float [d, 2 count]: of the widest kernel and of that half as wide, every d of them orthogonal.

    Twice a frequency is one of a kernel a quarter as wide, so these two stand for all.
    """
    blocks = torch.linalg.qr(torch.randn(-(-2 * count // d), d, d, generator=generator)).Q
    lengths = torch.randn(d, 2 * count, generator=generator).norm(dim=0)
    frequencies: Tensor = (blocks.transpose(0, 1).reshape(d, -1)[:, : 2 * count] * lengths).to(width.device)
    widths = width * 2.0 ** (N_KERNELS - 1 - torch.arange(2, device=width.device)).repeat_interleave(count)
    scales = (2 / widths.clamp(min=1e-30)).sqrt()
    return frequencies * scales


def _waves(vectors: Tensor, frequencies: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Cosines and sines of the frequencies, of twice and of four times them; kernels from wide to narrow."""
    phases = vectors @ frequencies
    waves = [(phases.cos(), phases.sin_())]
    for _ in range(N_KERNELS // 2):
        cosines, sines = waves[-1]
        waves.append(((2 * cosines).mul_(cosines).sub_(1), (2 * sines).mul_(cosines)))
    cosines, sines = waves.pop()
    half = phases.shape[1] // 2
    return [*waves, (cosines[:, :half], sines[:, :half])]


def _features(vectors: Tensor, frequencies: Tensor) -> Tensor:
    """float [n, 2 N_KERNELS R]: all cosines, then all sines."""
    waves = _waves(vectors, frequencies)
    return torch.cat([both[at] for at in (0, 1) for both in waves], 1)


class _MeanFeatures(torch.autograd.Function):
    """Mean cosines and sines, whose gradients are made of the same cosines and sines."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, frequencies: Tensor) -> Tensor:
        waves = _waves(vectors, frequencies)
        ctx.save_for_backward(frequencies, *(wave for both in waves for wave in both))
        return torch.stack([torch.cat([both[at].mean(0) for both in waves]) for at in (0, 1)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        frequencies, *saved = ctx.saved_tensors
        gradient = gradients[0] / len(saved[0])
        of_phases = torch.zeros_like(saved[0])
        start = 0
        for at, (cosines, sines) in enumerate(zip(saved[::2], saved[1::2], strict=True)):
            width = cosines.shape[1]
            of_cosine, of_sine = 2**at * gradient[:, start : start + width]
            of_phases[:, :width].addcmul_(cosines, of_sine).addcmul_(sines, of_cosine, value=-1)
            start += width
        return of_phases @ frequencies.T, None


def mean_features(vectors: Tensor, frequencies: Tensor) -> Tensor:
    """Mean cosine and mean sine, float [2, N_KERNELS R] from [n, d] and [d, 2 R]; kernels from wide to narrow."""
    apply: Callable[..., Tensor] = _MeanFeatures.apply
    return apply(vectors, frequencies)


def _sorted(vectors: Tensor) -> Tensor:
    """float [n, d]: each coordinate in order, with gradients; NumPy's vectorised sort takes a tenth of torch's time."""
    columns = np.ascontiguousarray(vectors.detach().cpu().numpy().T)
    order = torch.from_numpy(np.ascontiguousarray(np.argsort(columns, axis=1).T)).to(vectors.device)
    return vectors.gather(0, order)


def _in_order(vectors: Tensor) -> Tensor:
    """float [n, d]: each coordinate in order, by NumPy's vectorised sort."""
    return torch.from_numpy(np.sort(np.ascontiguousarray(vectors.cpu().numpy().T)).T.copy()).to(vectors.device)


def _quantiles(vectors: Tensor, at: Tensor) -> Tensor:
    """float [len(at), d]: each coordinate's quantiles, nearest below."""
    return _in_order(vectors)[(at * len(vectors)).long()]
