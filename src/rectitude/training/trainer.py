"""The one Trainer: batches from memory, early stopping on the validation fold, checkpoints that resume bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.core.errors import CheckpointError, ConfigError, DataError, RectitudeError, did_you_mean
from rectitude.core.memory import reusing_freed_memory
from rectitude.core.progress import progress_bar
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.evaluation.metrics import ACCURACY
from rectitude.models.base import GradientConfig, Recommender
from rectitude.training.averaging import WeightAverage
from rectitude.training.checkpoint import Checkpoint, load_optimizer, optimizer_tensors
from rectitude.training.loggers import Logger
from rectitude.training.methods import Method
from rectitude.training.parallel import agree, join, sum_gradients, sum_in_place

_CHECK_EVERY = 50
"""Batches between looks at the loss: each look waits for the device."""


@dataclass
class TrainingResult:
    """What happened.

    Attributes:
        curve: One row per epoch: ``epoch``, ``loss``, each term, the validation metric where taken, ``seconds``,
            ``cpu_seconds`` (training only) and ``targets_per_cpu_second``.
        best_epoch: Epoch whose parameters were kept, None where nothing was validated.
        stopped: ``"patience"``, ``"epochs"`` or ``"fit"`` (no epochs at all).
        seconds: Wall time in all, validation included.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = "fit"
    seconds: float = 0.0


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is the first GPU where there is one.

    Raises:
        ConfigError: The device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"'{name}' is no device", fix="Use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no GPU that torch can use here", where="device", fix="Use --device cpu")
    return device


def cut_off(metric: str) -> int:
    """The k of a metric that training can be steered by.

    Raises:
        ConfigError: It is no accuracy metric at a cut-off.
    """
    name, _, k = metric.partition("@")
    if name not in ACCURACY or not k.isdecimal() or int(k) < 1:
        known = [f"{other}@{k if k.isdecimal() and int(k) else 10}" for other in ACCURACY]
        raise ConfigError(f"'{metric}' cannot be maximised on the validation fold", fix=did_you_mean(metric, known))
    return int(k)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's default generators seeded for a block, and as they were after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _fast_products(device: torch.device) -> Iterator[None]:
    """Let oneDNN do matrix products in training.

    On CPUs without matrix units this is still full float32, only through kernels that are about twice as fast as the
    default on AVX-512 machines; with them, products round their inputs to bfloat16. What is reported is always
    computed in full precision, after training.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cpu":
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Trainer:
    """Trains one model on one split.

    The split it is given should be :meth:`Split.development`: it needs no test fold.

    Args:
        model: Fresh model; prepared here.
        split: Training histories and validation fold; without a question in that fold all epochs are run.
        seed: Of batches, negatives, dropout.
        content: Item matrices for models that read them.
        methods: Plug-ins, in order.
        device: ``auto``, ``cpu`` or ``cuda``.
        metric: What early stopping watches, higher is better.
        checkpoint: File to keep training state in after each epoch, None for none.
        resume: Go on from ``checkpoint`` where it exists.
        identity: What makes this training itself (data hash, settings …); a checkpoint of another is refused.
        loggers: Take the learning curve as it grows.
        progress: Show a bar.
    """

    def __init__(
        self,
        model: Recommender,
        split: Split,
        *,
        seed: int = 0,
        content: Mapping[str, npt.NDArray[np.float32]] | None = None,
        methods: Sequence[Method] = (),
        device: str = "auto",
        metric: str = "ndcg@10",
        checkpoint: Path | None = None,
        resume: bool = False,
        identity: Mapping[str, Any] | None = None,
        loggers: Sequence[Logger] = (),
        progress: bool = True,
    ) -> None:
        self.model, self.split, self.seed = model, split, seed
        self.content = content or {}
        self.methods, self.metric, self._k = list(methods), metric, cut_off(metric)
        self.device = pick_device(device)
        self.checkpoint, self.resume = checkpoint, resume
        self.identity = dict(identity or {})
        self.loggers, self.progress = list(loggers), progress
        self.rank, self.n_processes = 0, 1
        self.epoch = 0
        self._result = TrainingResult()
        self._best = float("-inf")
        self._best_state: dict[str, Tensor] = {}
        self._waited = 0

    def train(self) -> TrainingResult:
        """Train to the end; the model then holds the best parameters and is in evaluation mode.

        Raises:
            DataError: The training data hold nothing this model could learn from.
            RectitudeError: The loss stopped being a number.
            CheckpointError: ``resume`` met a checkpoint that does not fit.
        """
        began = time.perf_counter()
        self.model.to(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        self.model.prepare(self.split.train, self.content)
        if self.model.trained_by == "fit":
            self.model.fit(self.split.train, generator)
        else:
            self.rank, self.n_processes = join(self.device)
            with (
                seeded(self.seed, self.device),
                _fast_products(self.device),
                reusing_freed_memory(),
                ExitStack() as closing,
            ):
                for logger in self.loggers:
                    closing.callback(logger.close)
                self._epochs(generator)
        self.model.eval()
        self.model.finish()
        self._result.seconds = round(time.perf_counter() - began, 3)
        return self._result

    # ---- epochs --------------------------------------------------------------------------------------------------

    def _epochs(self, generator: torch.Generator) -> None:
        config = self.model.config
        if not isinstance(config, GradientConfig):
            raise TypeError(f"the configuration of {self.model.title} must be a GradientConfig")
        optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        source = self.model.batches(self.split.train)
        if config.averaging:
            self.methods.append(WeightAverage(config.averaging))
        for method in self.methods:
            method.on_start(self)
        if self.resume and self.checkpoint is not None and self.checkpoint.exists():
            self._take_up(optimizer, generator)
        for logger in self.loggers:
            logger.start(self._result.curve)
        self._result.stopped = "epochs"
        with progress_bar(visible=self.progress and self.rank == 0) as bars:
            whole = bars.add_task("epochs", total=config.epochs, completed=self.epoch, note="")
            while self.epoch < config.epochs:
                if self._waited >= config.patience:
                    self._result.stopped = "patience"
                    break
                self.epoch += 1
                part = bars.add_task(f"epoch {self.epoch}", total=len(source), note="")
                row = self._one_epoch(source.epoch(generator), optimizer, partial(bars.update, part, advance=1))
                bars.remove_task(part)
                self._validate(row, config)
                for method in self.methods:
                    method.on_epoch_end(self, row)
                self._result.curve.append(row)
                if self.rank == 0:
                    for logger in self.loggers:
                        logger.log(row)
                    self._lay_down(optimizer, generator)
                bars.update(whole, advance=1, note=self._headline(row))
        if not self._best_state:
            with self._served():
                self._keep()
        self.model.load_state_dict(self._best_state)

    def _one_epoch(self, batches: Iterator[Any], optimizer: torch.optim.Optimizer, tick: Any) -> dict[str, float]:
        self.model.train()
        wall, cpu = time.perf_counter(), time.process_time()
        number = n_targets = 0
        sums: dict[str, Tensor] = {}
        for number, whole in enumerate(batches, 1):
            n_whole = whole.n_targets
            if n_whole == 0:
                continue
            terms = self._one_step(whole, n_whole, optimizer)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.detach().double() * n_whole
            n_targets += n_whole
            if number % _CHECK_EVERY == 0:
                self._totals(sums, number)
            tick(note=f"{n_targets / (time.perf_counter() - wall):,.0f} targets/s")
        if not n_targets:
            raise DataError(
                f"The training data hold nothing that {self.model.title} could learn from",
                fix="Use more data, or people with longer histories",
            )
        cpu = time.process_time() - cpu
        means = {name: total / n_targets for name, total in self._totals(sums, number).items()}
        return {
            "epoch": self.epoch,
            "loss": sum(means.values()),
            **(means if len(means) > 1 else {}),
            "seconds": round(time.perf_counter() - wall, 3),
            "cpu_seconds": round(cpu, 3),
            "targets_per_cpu_second": round(n_targets / self.n_processes / max(cpu, 1e-9)),
        }

    def _one_step(self, whole: Any, n_whole: int, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Back-propagate one batch and step; the terms are this process's share of the batch mean."""
        batch, share = whole, 1.0
        if self.n_processes > 1:
            part = whole.part(self.rank, self.n_processes)
            share = part.n_targets / n_whole
            batch = part if share > 0 else whole  # with no row of its own: all of them, without weight
        batch = batch.to(self.device)
        last: dict[str, Tensor] = {}

        def closure() -> Tensor:
            optimizer.zero_grad()
            terms = dict(self.model.loss(batch))
            for method in self.methods:
                terms.update(method.extra_loss(batch, self.model))
            total = torch.stack([term * share for term in terms.values()]).sum()
            total.backward()
            last.update({name: term.detach() * share for name, term in terms.items()})
            if self.n_processes > 1:
                sum_gradients(self.model.parameters())
            return total

        if not any(method.step(closure, optimizer) for method in self.methods):
            closure()
            optimizer.step()
        for method in self.methods:
            method.on_step_end(self.model)
        return last

    def _totals(self, sums: dict[str, Tensor], batch: int) -> dict[str, float]:
        """Each term summed over the targets so far, of all processes."""
        values = [value.clone() for value in sums.values()]
        if self.n_processes > 1:
            sum_in_place(values)
        totals = {name: float(value) for name, value in zip(sums, values, strict=True)}
        for name, total in totals.items():
            if not math.isfinite(total):
                raise RectitudeError(
                    f"The loss '{name}' is no longer a number",
                    where=f"epoch {self.epoch}, by batch {batch}",
                    fix="Lower learning_rate, or look for extreme values in the content",
                )
        return totals

    def _validate(self, row: dict[str, float], config: GradientConfig) -> None:
        due = self.epoch % config.validate_every == 0 or self.epoch == config.epochs
        if not due or not len(self.split.valid):
            return
        with self._served():
            value = 0.0
            if self.rank == 0:
                self.model.eval()
                self.model.finish()
                value = evaluate_fold(self.model, self.split.valid, ks=(self._k,)).mean(self.metric)
            if self.n_processes > 1:
                value = agree(value, self.device)
            row[f"valid_{self.metric}"] = value
            if value > self._best:
                self._best, self._waited = value, 0
                self._result.best_epoch = self.epoch
                self._keep()
            else:
                self._waited += 1

    @contextmanager
    def _served(self) -> Iterator[None]:
        """The model as the methods would have it served."""
        with ExitStack() as all_of_them:
            for method in self.methods:
                all_of_them.enter_context(method.served(self.model))
            yield

    def _keep(self) -> None:
        self._best_state = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def _headline(self, row: dict[str, float]) -> str:
        key = f"valid_{self.metric}"
        seen = f", {self.metric} {row[key]:.4f} (best {self._best:.4f})" if key in row else ""
        return f"loss {row['loss']:.4f}{seen}"

    # ---- stopping and going on -----------------------------------------------------------------------------------

    def _lay_down(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors.update({f"best.{name}": tensor for name, tensor in self._best_state.items()})
        tensors.update({f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(optimizer).items()})
        tensors["random.batches"] = generator.get_state()
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        for method in self.methods:
            tensors.update({f"method.{method.name}.{name}": value for name, value in method.state().items()})
        facts = {
            "identity": self.identity,
            "epoch": self.epoch,
            "best": self._best if self._best_state else None,
            "best_epoch": self._result.best_epoch,
            "waited": self._waited,
            "curve": self._result.curve,
        }
        Checkpoint(tensors, facts).write(self.checkpoint)

    def _take_up(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        if self.checkpoint is None:
            return
        held = Checkpoint.read(self.checkpoint, self.identity)
        try:
            self.model.load_state_dict(held.part("model"))
        except RuntimeError as error:
            reason = " ".join(line.strip() for line in str(error).splitlines()[1:2])
            raise CheckpointError(
                f"The checkpoint does not fit {self.model.title}: {reason}", where=str(self.checkpoint)
            ) from error
        self._best_state = {name: tensor.to(self.device) for name, tensor in held.part("best").items()}
        load_optimizer(optimizer, held.part("optimizer"))
        generator.set_state(held.tensors["random.batches"])
        torch.set_rng_state(held.tensors["random.cpu"])
        if "random.cuda" in held.tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(held.tensors["random.cuda"], self.device)
        for method in self.methods:
            method.load_state(held.part(f"method.{method.name}"))
        self.epoch = held.facts["epoch"]
        self._best = held.facts["best"] if held.facts["best"] is not None else float("-inf")
        self._result.best_epoch, self._waited = held.facts["best_epoch"], held.facts["waited"]
        self._result.curve = held.facts["curve"]
