from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rectitude.nn.experts import InteractionExperts, distance, mix


def made(modalities: tuple[str, ...] = ("text", "image"), width: int = 6, hidden: int = 16, **rest: object):
    torch.manual_seed(0)
    return InteractionExperts(modalities, width, hidden, **rest)


def test_an_expert_is_a_small_network_over_the_concatenated_modalities() -> None:
    experts, content = made(("a", "b", "c")), torch.randn(3, 5, 6)
    outputs = experts(content)
    assert experts.names == ("a", "b", "c", "synergy", "redundancy")
    for place in range(5):
        first = experts.inner[:, place].reshape(18, 16)  # the modalities one after the other
        hidden = F.gelu(torch.cat(list(content), 1) @ first + experts.inner_bias[place])
        expected = hidden @ experts.outer[place] + experts.outer_bias[place]
        torch.testing.assert_close(outputs[place], expected)


@pytest.mark.parametrize("how", ["mean", "zero"])
def test_a_masked_pass_is_a_pass_with_one_modality_replaced(how: str) -> None:
    experts, content = made(), torch.randn(2, 7, 6)
    whole, masked = experts.passes(content, how)
    torch.testing.assert_close(whole, experts(content))
    for hidden in range(2):
        replaced = content.clone()
        replaced[hidden] = content[hidden].mean(0) if how == "mean" else 0.0
        torch.testing.assert_close(masked[:, hidden], experts(replaced), rtol=1e-4, atol=1e-6)


def test_noise_is_drawn_for_every_expert_and_pass_and_never_touches_what_is_kept() -> None:
    experts, content = made(), torch.randn(2, 7, 6)
    first, second = (experts.passes(content)[1] for _ in range(2))
    assert not torch.allclose(first, second)
    with torch.no_grad():
        experts.inner[0].zero_()  # nobody listens to the first modality
    whole, masked = experts.passes(content)
    torch.testing.assert_close(masked[:, 0], whole)
    assert not torch.allclose(masked[:, 1], whole)


def test_the_losses_are_the_papers_for_two_modalities() -> None:
    experts = made()
    whole, masked = torch.randn(4, 5, 6), torch.randn(4, 2, 5, 6)
    losses = experts.losses(whole, masked, margin=0.3)
    hide_text, hide_image = masked.unbind(1)

    def cos(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).sum(1) / one.norm(dim=1) / other.norm(dim=1)

    text = 0.3 + (1 - cos(whole[0], hide_image[0])) - (1 - cos(whole[0], hide_text[0]))
    image = 0.3 + (1 - cos(whole[1], hide_text[1])) - (1 - cos(whole[1], hide_image[1]))
    torch.testing.assert_close(losses["text"], text.clamp(min=0))
    torch.testing.assert_close(losses["image"], image.clamp(min=0))
    torch.testing.assert_close(losses["synergy"], (cos(whole[2], hide_text[2]) + cos(whole[2], hide_image[2])) / 2)
    torch.testing.assert_close(
        losses["redundancy"], 1 - (cos(whole[3], hide_text[3]) + cos(whole[3], hide_image[3])) / 2
    )

    lengths = experts.losses(whole, masked, margin=1.0, kind="euclidean")
    text = 1.0 + (whole[0] - hide_image[0]).norm(dim=1) - (whole[0] - hide_text[0]).norm(dim=1)
    torch.testing.assert_close(lengths["text"], text.clamp(min=0))
    torch.testing.assert_close(lengths["synergy"], losses["synergy"])  # is a cosine either way


def test_distances() -> None:
    one, other = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    assert distance("cosine", one, other).item() == pytest.approx(1 - 0.8)
    assert distance("euclidean", one, other).item() == pytest.approx(13**0.5)


def test_the_gradient_of_a_cosine_is_right() -> None:
    torch.manual_seed(0)
    one = torch.randn(3, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    other = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(1 - distance("cosine", one, other), F.cosine_similarity(one, other, dim=-1))
    assert torch.autograd.gradcheck(lambda *pair: distance("cosine", *pair), (one, other))


def test_experts_can_be_left_out() -> None:
    experts = made(left_out=("text", "synergy"))
    assert experts.names == ("image", "redundancy")
    assert experts(torch.randn(2, 3, 6)).shape == (2, 3, 6)
    assert set(experts.losses(*experts.passes(torch.randn(2, 3, 6)))) == {"image", "redundancy"}


def test_mixing_and_its_gradients_are_those_of_the_plain_sum() -> None:
    outputs = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    place = torch.tensor([0, 3, 3, 1, 0, 2])
    plain = (outputs[:, place] * weights[..., None]).sum(0)
    torch.testing.assert_close(mix(outputs, weights, place), plain)
    assert torch.autograd.gradcheck(lambda a, b: mix(a, b, place), (outputs, weights))


def planted(n_items: int = 400) -> Tensor:
    """Image = [own; shared; z + key], text = [own; shared; key]: z shows only in both together."""
    generator = torch.Generator().manual_seed(1)

    def draw() -> Tensor:
        return torch.randn(n_items, 2, generator=generator)

    shared, key, z = draw(), draw(), draw()
    return torch.stack([torch.cat([draw(), shared, (z + key) / 2**0.5], 1), torch.cat([draw(), shared, key], 1)])


def trained(content: Tensor, steps: int = 300) -> InteractionExperts:
    experts = made(("image", "text"), hidden=32)
    optimizer = torch.optim.Adam(experts.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack([value.mean() for value in experts.losses(*experts.passes(content)).values()]).sum().backward()
        optimizer.step()
    return experts


def test_each_loss_makes_its_expert_what_it_is_called_and_no_two_alike() -> None:
    content = planted()
    experts = trained(content)
    torch.manual_seed(3)
    whole, masked = experts.passes(content)
    likeness = F.cosine_similarity(whole[:, None], masked, dim=-1).mean(2).T.detach()  # [hidden modality, expert]
    image, text, synergy, redundancy = range(4)
    assert likeness[text - 0, image] > likeness[0, image] + 0.2  # the image expert does not care when text is hidden
    assert likeness[0, text] > likeness[1, text] + 0.2
    assert likeness[:, synergy].mean() < likeness[:, redundancy].mean() - 0.3
    for one, other in itertools.combinations(whole.detach(), 2):
        assert F.cosine_similarity(one, other, dim=-1).mean() < 0.95


def test_two_equal_modalities_are_redundant() -> None:
    content = planted()[:1].repeat(2, 1, 1)
    experts = trained(content)
    torch.manual_seed(3)
    assert experts.losses(*experts.passes(content))["redundancy"].mean() < 0.35
