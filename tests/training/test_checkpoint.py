from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rectitude.core.errors import CheckpointError
from rectitude.training.checkpoint import Checkpoint, load_optimizer, optimizer_tensors

IDENTITY = {"data": "abc", "model": "sasrec", "settings": {"dropout": 0.2, "n_factors": 64}, "seed": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "checkpoint.safetensors"
    tensors = {"model.a": torch.arange(6.0).view(2, 3), "model.b.c": torch.tensor(3), "best.a": torch.ones(2)}
    Checkpoint(tensors, {"identity": IDENTITY, "epoch": 7, "curve": [{"epoch": 7, "loss": 0.5}]}).write(file)
    return file


def test_what_is_written_is_read(path: Path) -> None:
    held = Checkpoint.read(path, IDENTITY)
    assert held.facts["epoch"] == 7
    assert held.part("model").keys() == {"a", "b.c"}
    assert torch.equal(held.part("model")["a"], torch.arange(6.0).view(2, 3))
    assert held.part("model")["b.c"].dtype == torch.int64
    assert held.part("mod") == {}
    assert Checkpoint.epochs(path) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "xyz"}, "data was 'abc' and is now 'xyz'"),
        ({"seed": 2}, "seed was 1 and is now 2"),
        ({"settings": {"dropout": 0.3, "n_factors": 64}}, "settings.dropout was 0.2 and is now 0.3$"),
        ({"settings": {"dropout": 0.2}}, "settings.n_factors was 64 and is now None"),
        ({"data": "xyz", "model": "bpr"}, "data was 'abc' and is now 'xyz'; model was 'sasrec' and is now 'bpr'"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_saying_what_differs(
    path: Path, change: dict[str, object], message: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="of another training") as caught:
        Checkpoint.read(path, IDENTITY | change)
    assert message.rstrip("$") in caught.value.what
    if message.endswith("$"):
        assert "n_factors" not in caught.value.what
    assert caught.value.where == str(path)
    assert "--overwrite" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_truncated_checkpoint_is_refused_and_left_as_it_was(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint.read(path, IDENTITY)
    assert path.read_bytes() == before
    assert Checkpoint.epochs(path) == 0


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.ones(1)}, foreign)
    with pytest.raises(CheckpointError, match=r"Not a checkpoint of this version \(no format named\)"):
        Checkpoint.read(foreign, {})
    save_file({"a": torch.ones(1)}, foreign, metadata={"format": "rectitude-checkpoint-99"})
    with pytest.raises(CheckpointError, match="rectitude-checkpoint-99"):
        Checkpoint.read(foreign, {})
    text = tmp_path / "text.safetensors"
    text.write_text("this is a letter to my aunt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint.read(text, {})
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint.read(tmp_path / "nowhere.safetensors", {})


def test_an_optimiser_gets_its_state_back() -> None:
    def stepped(n_steps: int) -> tuple[torch.nn.Linear, torch.optim.Adam]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
        for _ in range(n_steps):
            optimizer.zero_grad()
            layer(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        return layer, optimizer

    whole, _ = stepped(3)
    part, optimizer = stepped(2)
    tensors = optimizer_tensors(optimizer)
    assert tensors.keys() == {f"{i}.{name}" for i in (0, 1) for name in ("step", "exp_avg", "exp_avg_sq")}
    fresh = torch.optim.Adam(part.parameters(), lr=0.1, fused=True)
    load_optimizer(fresh, tensors)
    fresh.zero_grad()
    part(torch.ones(1, 3)).square().sum().backward()
    fresh.step()
    assert torch.equal(whole.weight, part.weight)
