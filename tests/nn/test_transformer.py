from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rectitude.nn import transformer
from rectitude.nn.transformer import Block, Encoder, attention, causal_bias, padding_bias

B, H, L, W = 3, 2, 7, 5


def test_causal_bias_hides_what_comes_later() -> None:
    bias = causal_bias(4)
    visible = torch.ones(4, 4).tril().bool()
    assert (bias[visible] == 0).all()
    assert (bias[~visible] == -torch.inf).all()


def test_padding_bias_hides_padding_but_never_everything() -> None:
    padding = torch.tensor([[False, False, True], [True, True, True], [False, False, False]])
    bias = padding_bias(padding)
    assert bias.shape == (3, 1, 1, 3)
    hidden = bias[:, 0, 0] == -torch.inf
    assert hidden.tolist() == [[False, False, True], [False, True, True], [False, False, False]]
    assert padding[1].all()  # the argument is not written into


@pytest.mark.parametrize("which", ["causal", "padding", "none"])
def test_explicit_attention_is_the_fused_kernel(which: str) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(B, H, L, W, requires_grad=True) for _ in range(3))
    padding = torch.arange(L) >= torch.tensor([[7], [3], [0]])
    bias = {"causal": causal_bias(L), "padding": padding_bias(padding), "none": torch.zeros(1)}[which]
    explicit = attention(query, key, value, bias)
    fused = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.expand(B, H, L, L))
    torch.testing.assert_close(explicit, fused)
    for got, want in zip(
        torch.autograd.grad(explicit.square().sum(), (query, key, value)),
        torch.autograd.grad(fused.square().sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_long_sequences_take_the_fused_kernel_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(B, H, L, W) for _ in range(3))
    explicit = attention(query, key, value, causal_bias(L))
    monkeypatch.setattr(transformer, "_LONGEST_EXPLICIT", L - 1)
    torch.testing.assert_close(attention(query, key, value, causal_bias(L)), explicit)


def test_a_row_of_nothing_but_padding_gives_numbers() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 0.0)
    padding = torch.ones(2, 5, dtype=torch.bool)
    out = block(torch.randn(2, 5, 8), padding_bias(padding))
    assert torch.isfinite(out).all()
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in block.parameters())


@pytest.mark.parametrize(("n_heads", "hidden"), [(1, None), (4, 24)])
def test_a_block_keeps_the_shape_and_every_parameter_learns(n_heads: int, hidden: int | None) -> None:
    torch.manual_seed(0)
    block = Block(8, n_heads, 0.1, hidden, F.gelu)
    x = torch.randn(B, L, 8)
    out = block(x, causal_bias(L))
    assert out.shape == x.shape
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())
    assert block.expand.out_features == (hidden or 8)


def test_a_block_is_the_textbook_pre_norm_block() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 0.0)
    x = torch.randn(B, L, 8)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(block.query_key_value.weight)
        reference.in_proj_bias.copy_(block.query_key_value.bias)
        reference.out_proj.weight.copy_(block.attention_out.weight)
        reference.out_proj.bias.copy_(block.attention_out.bias)
    normed = block.attention_norm(x)
    later = torch.ones(L, L).triu(1).bool()
    middle = x + reference(normed, normed, normed, attn_mask=later, need_weights=False)[0]
    expected = middle + block.contract(F.relu(block.expand(block.feed_forward_norm(middle))))
    torch.testing.assert_close(block(x, causal_bias(L)), expected)


def test_an_encoder_adds_positions_and_reads_shorter_sequences_than_its_longest() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 2, max_length=L, dropout=0.0).eval()
    x = torch.randn(B, L, 8)
    whole = encoder(x, causal_bias(L))
    assert whole.shape == x.shape
    torch.testing.assert_close(encoder(x[:, :4], causal_bias(4)), whole[:, :4])
    same = encoder(torch.ones(1, 3, 8), torch.zeros(3, 3))[0]
    assert not torch.allclose(same[0], same[1])


def test_the_last_norm_is_applied() -> None:
    torch.manual_seed(0)
    states = Encoder(16, 1, 2, max_length=4, dropout=0.0)(torch.randn(2, 4, 16) * 10, causal_bias(4))
    torch.testing.assert_close(states.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(states.std(-1, correction=0), torch.ones(2, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
def test_one_place_of_each_row_is_what_all_places_hold(causal: bool) -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 2, 6, 0.0, hidden=16).eval()
    x, places = torch.randn(5, 6, 8), torch.tensor([0, 5, 2, 3, 1])
    padding = torch.arange(6) > torch.tensor([0, 5, 3, 3, 2])[:, None]
    bias = causal_bias(6) if causal else padding_bias(padding)
    torch.testing.assert_close(encoder(x, bias, places), encoder(x, bias)[torch.arange(5), places])
