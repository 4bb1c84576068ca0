from __future__ import annotations

import pytest
import torch

from rectitude.nn.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_the_share_dropped_is_the_rate_and_the_mean_is_kept(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 503)  # a number of elements that is no multiple of eight
    out = Dropout(rate)(x)
    rounded = round(rate * 256) / 256
    assert abs(rounded - rate) <= 1 / 512
    dropped = (out == 0).float().mean().item()
    error = (rounded * (1 - rounded) / x.numel()) ** 0.5
    assert abs(dropped - rounded) < 5 * error
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 1 / (1 - rounded)))
    assert abs(out.mean().item() - 1) < 5 * error / (1 - rounded)


def test_elements_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(200, 512)) != 0).float() - 0.5
    for shift in (1, 4, 8, 64):
        assert abs((kept[:, shift:] * kept[:, :-shift]).mean().item()) < 5 * 0.25 / kept.numel() ** 0.5
    assert abs(kept.view(-1, 8).mean(0)).max() < 0.02  # each of a word's eight bytes alike


def test_gradients_pass_where_and_as_values_did() -> None:
    x = torch.randn(30, 7, requires_grad=True)
    out = Dropout(0.3)(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(out, x * gradient)


def test_nothing_is_dropped_in_evaluation_mode_or_at_rate_zero() -> None:
    x = torch.randn(5, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_same_seed_drops_the_same_elements() -> None:
    x = torch.ones(64, 64)
    drop = Dropout(0.4)
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(drop(x))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def test_dtype_shape_and_empty_tensors_are_kept() -> None:
    out = Dropout(0.5)(torch.ones(3, 1, 5, dtype=torch.float64))
    assert (out.dtype, out.shape) == (torch.float64, (3, 1, 5))
    assert Dropout(0.5)(torch.empty(0, 4)).shape == (0, 4)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        Dropout(rate)


def test_the_rate_is_shown() -> None:
    assert repr(Dropout(0.25)) == "Dropout(rate=0.25)"
