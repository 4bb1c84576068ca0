"""Training state on disk as safetensors: tensors by name, everything else as JSON in the header. No pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from rectitude.core.errors import CheckpointError
from rectitude.core.files import write_bytes

FORMAT = "rectitude-checkpoint-1"


@dataclass
class Checkpoint:
    """Everything a Trainer needs to go on as if it had never stopped.

    Attributes:
        tensors: Model, best model, optimiser, random state and methods, by dotted names.
        facts: Epoch, counters, learning curve, and what the training was of (``identity``).
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def write(self, path: Path) -> None:
        """Replace the file atomically."""
        tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in self.tensors.items()}
        header = {"format": FORMAT, "facts": json.dumps(self.facts)}
        write_bytes(path, save(tensors, metadata=header))

    @classmethod
    def read(cls, path: Path, identity: dict[str, Any]) -> Checkpoint:
        """Read a checkpoint of the same training.

        Args:
            path: The file.
            identity: What is about to be trained; must equal what the checkpoint was of.

        Raises:
            CheckpointError: The file is truncated, not ours, or of another training.
        """
        anew = "Remove the file or start again with --overwrite"
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"The checkpoint cannot be read: {error}", where=str(path), fix=anew) from error
        if header.get("format") != FORMAT:
            raise CheckpointError(
                f"Not a checkpoint of this version ({header.get('format', 'no format named')})",
                where=str(path),
                fix=anew,
            )
        facts = json.loads(header["facts"])
        if differences := list(_differences(facts["identity"], identity)):
            raise CheckpointError(
                f"The checkpoint is of another training: {'; '.join(differences)}", where=str(path), fix=anew
            )
        return cls(tensors, facts)

    @staticmethod
    def epochs(path: Path) -> int:
        """Epochs a checkpoint holds, 0 where there is none that can be read."""
        try:
            with safe_open(path, framework="pt") as file:
                return int(json.loads((file.metadata() or {})["facts"])["epoch"])
        except (SafetensorError, OSError, KeyError, ValueError):
            return 0

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose name begins with ``prefix.``, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def _differences(kept: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """What of two nested tables of facts differs, in words."""
    if isinstance(kept, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(kept.keys() - wanted.keys())]:
            yield from _differences(kept.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif kept != wanted:
        yield f"{name} was {kept!r} and is now {wanted!r}"


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by ``index.name``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give the optimiser its state back."""
    packed = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    packed["state"] = state
    optimizer.load_state_dict(packed)
