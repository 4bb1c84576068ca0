"""Data parallelism under ``torchrun``: every process cuts the same batches, takes its share, and sums gradients.

The loss of a batch is a mean over targets, so each process weighs its gradient by its share of the targets; the sum is
then the gradient one process would have had.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def join(device: torch.device) -> tuple[int, int]:
    """Join the group that ``torchrun`` announced, if it did, for as long as this process lives.

    A group cannot be left and joined again, and there may be several models to train.

    Returns:
        This process's number and how many there are; (0, 1) outside ``torchrun``.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return dist.get_rank(), dist.get_world_size()


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its sum over processes."""
    held = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in held:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    sum_in_place([parameter.grad for parameter in held if parameter.grad is not None])


def sum_in_place(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over processes, in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def agree(value: float, device: torch.device) -> float:
    """The first process's number, in every process."""
    box = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(box, 0)
    return float(box)
