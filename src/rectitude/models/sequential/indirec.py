"""InDiRec: SASRec contrasted with what a diffusion model imagines from a person of like intent.

Source: "Intent-aware Diffusion with Contrastive Learning for Sequential Recommendation", SIGIR 2025. Each epoch the
sequence vectors are clustered into intents; a sequence is guided by another of its cluster; a small diffusion model
learns to restore the next item's embedding from noise and guidance (x0-prediction, mean squared error, guidance
dropped now and then), and what it samples with classifier-free guidance is contrasted with the sequence's own vector
(InfoNCE, dot products, equal targets are no negatives).

Where we depart from it: the next-item loss is SASRec's, on all positions of windows at random offsets, instead of on
the last item of every prefix; guidance vectors are those of the epoch's beginning, without gradient, instead of a
second pass through the encoder; samples take 50 steps instead of 200 by default, and pass no gradient; every sequence
is guided from its own cluster (the released code looks all of a batch up in the first one's); the contrast weighs 0.02
instead of 0.2 (NDCG@10 on the validation fold of MovieLens-100K: 0.095 with 0.2, 0.111 with 0.02, 0.120 without).

Letters: B batch, L length, d width, K clusters, T diffusion steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, Range
from rectitude.models.batches import SequenceBatch, SequenceBatches
from rectitude.models.query import Query
from rectitude.models.sequential.sasrec import SASRec, SASRecConfig
from rectitude.nn.losses import NegativeSampler, next_item_loss

_ROUNDS = 10
"""Rounds of k-means: intents need no exact optimum."""


class InDiRecConfig(SASRecConfig):
    """Settings of InDiRec."""

    search: ClassVar[dict[str, Range | Choice]] = {"contrast_weight": Range(0.005, 0.4, log=True)}

    n_clusters: int = Field(256, ge=1)
    """Intents; at most one for every two people is used."""
    n_diffusion: int = Field(50, ge=2)
    """Diffusion steps; the paper takes 200, each costs in every training step."""
    guidance: float = Field(2.0, ge=0)
    """Weight of guidance when sampling; 0 samples as if nothing were known."""
    guidance_dropout: float = Field(0.1, ge=0, le=1)
    """Share of sequences whose guidance is hidden when the diffusion model learns."""
    diffusion_weight: float = Field(1.0, ge=0)
    """Weight of the diffusion loss."""
    contrast_weight: float = Field(0.02, ge=0)
    """Weight of the contrastive loss; the paper's 0.2 to 0.4 stand beside a loss on last items only."""


@dataclass(frozen=True, eq=False)
class IntentBatch(SequenceBatch):
    """Shifted sequences with guidance.

    Attributes:
        guidance: float32 [B, d], vector of another person of the same intent.
    """

    guidance: Tensor

    def to(self, device: torch.device) -> IntentBatch:
        """The batch on a device."""
        return IntentBatch(**vars(super().to(device)), guidance=self.guidance.to(device))

    def part(self, index: int, count: int) -> IntentBatch:
        """One process's rows."""
        return IntentBatch(**vars(super().part(index, count)), guidance=self.guidance[index::count])


def kmeans(points: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Cluster of each point by Lloyd's algorithm from random points, int64 [N].

    Args:
        points: float [N, d].
        n_clusters: K.
        generator: Draws the first centres.
    """
    centres = points[torch.randperm(len(points), generator=generator)[:n_clusters].to(points.device)]
    for _ in range(_ROUNDS):
        nearest = (2 * points @ centres.T - centres.square().sum(1)).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centres))[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return (2 * points @ centres.T - centres.square().sum(1)).argmax(1)


class IntentBatches(SequenceBatches):
    """Windows with guidance from a person of the same intent; intents are found anew each epoch.

    Args:
        train: U rows.
        model: Whose vectors are clustered.
        sampler: Draws the negatives of a batch.
    """

    def __init__(self, train: Histories, model: InDiRec, sampler: NegativeSampler) -> None:
        config = model.config
        super().__init__(
            train,
            model.n_items,
            config.batch_size,
            config.max_length,
            sampler,
            last_window_only=config.last_window_only,
        )
        self.model = model

    def epoch(self, generator: torch.Generator) -> Iterator[IntentBatch]:
        """One pass, every target once."""
        guidance = self._guidance(generator)
        for batch in super().epoch(generator):
            yield IntentBatch(**vars(batch), guidance=guidance[batch.users])

    @torch.no_grad()
    def _guidance(self, generator: torch.Generator) -> Tensor:
        """float32 [U, d], for each person the vector of another one of the same cluster, on the CPU."""
        model, people = self.model, self._usable
        training = model.training
        model.eval()
        vectors = model.query_vectors(Query.of_histories(self.train.take(people), model.device)).cpu()
        model.train(training)
        clusters = kmeans(vectors, max(1, min(model.config.n_clusters, len(people) // 2)), generator).numpy()
        shuffled = torch.randperm(len(people), generator=generator).numpy()
        order = shuffled[np.argsort(clusters[shuffled], kind="stable")]
        after = np.roll(order, -1)
        # The next of the shuffled cluster; its last one is guided by its first.
        starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
        ends = np.append(starts[1:], len(order)) - 1
        after[ends] = order[starts]
        guidance = torch.zeros(len(self.train), vectors.shape[1])
        guidance[torch.from_numpy(people[order])] = vectors[torch.from_numpy(after)]
        return guidance


class Diffusion(nn.Module):
    """Restores an embedding from noise and guidance.

    Args:
        width: d.
        n_steps: T.
    """

    kept: Tensor

    def __init__(self, width: int, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        rates = torch.logspace(-4, math.log10(0.5), n_steps, dtype=torch.float64)  # exponential schedule
        self.register_buffer("kept", (1 - rates).cumprod(0).float(), persistent=False)
        self.step = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.restore = nn.Linear(3 * width, width)

    def forward(self, noisy: Tensor, guidance: Tensor, step: Tensor) -> Tensor:
        """Predicted x0 [B, d] from x_t, guidance [B, d] and step int64 [B]."""
        half = noisy.shape[1] // 2
        speeds = torch.exp(-math.log(10000) * torch.arange(half, device=noisy.device) / max(1, half))
        angles = step[:, None] * speeds
        waves = F.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, noisy.shape[1] - 2 * half))
        restored: Tensor = self.restore(torch.cat([noisy, guidance, self.step(waves)], 1))
        return restored

    def loss(self, clean: Tensor, guidance: Tensor, hidden: float) -> Tensor:
        """Mean squared error of x0 at a random step of each row, guidance hidden from a share of rows."""
        step = torch.randint(self.n_steps, (len(clean),), device=clean.device)
        kept = self.kept[step][:, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * torch.randn_like(clean)
        seen = torch.rand(len(clean), 1, device=clean.device) >= hidden
        return F.mse_loss(self(noisy, guidance * seen, step), clean)

    @torch.no_grad()
    def sample(self, guidance: Tensor, weight: float) -> Tensor:
        """x0 [B, d] by deterministic steps (DDIM, η = 0) from noise, with classifier-free guidance."""
        x = torch.randn_like(guidance)
        clean = x
        both = torch.cat([guidance, torch.zeros_like(guidance)])
        for number in reversed(range(self.n_steps)):
            step = torch.full((len(both),), number, device=x.device)
            known, unknown = self(torch.cat([x, x]), both, step).chunk(2)
            clean = (1 + weight) * known - weight * unknown
            if number:
                kept, before = self.kept[number], self.kept[number - 1]
                noise = (x - kept.sqrt() * clean) / (1 - kept).sqrt()
                x = before.sqrt() * clean + (1 - before).sqrt() * noise
        return clean


class InDiRec(SASRec):
    """SASRec that learns besides from sequences imagined by a diffusion model guided by intents.

    Answers exactly as SASRec does. Cost: T small products a step, and k-means once per epoch.

    Source: SIGIR 2025, see the module.
    """

    name: ClassVar[str] = "indirec"
    title: ClassVar[str] = "InDiRec"
    paper: ClassVar[str] = "Intent-aware Diffusion with Contrastive Learning for Sequential Recommendation, SIGIR 2025"
    Config: ClassVar[type[InDiRecConfig]] = InDiRecConfig
    config: InDiRecConfig

    def __init__(self, config: InDiRecConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.diffusion = Diffusion(config.n_factors, config.n_diffusion)

    def batches(self, train: Histories) -> IntentBatches:
        """Windows with guidance and shared negatives."""
        sampler = NegativeSampler(self.popularity.cpu(), self.config.n_negatives, self.config.negative_power)
        return IntentBatches(train, self, sampler)

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Terms ``next_item``, ``diffusion`` and ``contrast``."""
        config = self.config
        states, real = self.states(batch.inputs), batch.targets >= 0
        loss = next_item_loss(
            config.loss, states[real], self.item_table(), batch.targets[real], batch.negatives, self.n_items
        )
        terms = {"next_item": loss}
        rows = real.any(1).nonzero().squeeze(1)
        last = (real.sum(1) - 1)[rows]
        target, state = batch.targets[rows, last], states[rows, last]
        guidance = batch.guidance[rows]
        if config.diffusion_weight:
            clean = F.embedding(target, self.items.weight)
            terms["diffusion"] = config.diffusion_weight * self.diffusion.loss(clean, guidance, config.guidance_dropout)
        if config.contrast_weight:
            imagined = self.diffusion.sample(guidance, config.guidance)
            terms["contrast"] = config.contrast_weight * contrast(state, imagined, target)
        return terms


def contrast(states: Tensor, imagined: Tensor, targets: Tensor) -> Tensor:
    """InfoNCE of each state with its own imagined item among those of the batch; equal targets are no negatives.

    Args:
        states: float [B, d].
        imagined: float [B, d].
        targets: int64 [B].
    """
    logits = states @ imagined.T
    same = (targets[:, None] == targets) & ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    return F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(targets), device=targets.device))
