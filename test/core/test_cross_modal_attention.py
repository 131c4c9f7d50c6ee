# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fusion by attention over object tokens, beside the attention of the specification."""

import pytest
import torch
from torch import nn

from sage_perception.models.networks.puzzle.attention import (
    Concatenation,
    CrossModalAttention,
    FusionConfig,
    SlotTokens,
)
from sage_perception.training.puzzle.fit import cue_loss

BATCH, OBJECTS = 4, 6


class SpecifiedAttention(nn.Module):
    """Section 5.2 of the specification: one token of vision, one of audio."""

    def __init__(self):
        super().__init__()
        self.vision, self.audio = nn.Linear(64, 256), nn.Linear(128, 256)
        self.attention = nn.MultiheadAttention(256, 8, batch_first=True)

    def forward(self, vision, audio):
        v, a = self.vision(vision)[:, None], self.audio(audio)[:, None]
        return (self.attention(v, a, a)[0] + self.attention(a, v, v)[0])[:, 0]


def test_attention_to_one_key_is_a_sum_that_cannot_relate_the_modalities():
    torch.manual_seed(0)
    network = SpecifiedAttention().eval()
    v1, v2, a1, a2 = (torch.randn(8, n) for n in (64, 64, 128, 128))
    # A sum f(v) + g(a) has no interaction: the mixed second difference is zero.
    mixed = network(v1, a1) - network(v1, a2) - network(v2, a1) + network(v2, a2)
    assert mixed.abs().max() < 1e-5
    assert (network(v1, a1) - network(v2, a2)).abs().max() > 0.1


def inputs(seed=0, config=None):
    config = config or FusionConfig()
    generator = torch.Generator().manual_seed(seed)
    objects = torch.randn(BATCH, OBJECTS, config.token_dim, generator=generator)
    cues = tuple(torch.randn(BATCH, dim, generator=generator) for dim in config.cue_dims)
    return objects, torch.ones(BATCH, OBJECTS), cues, torch.ones(BATCH, len(cues))


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(1)
    return CrossModalAttention(FusionConfig()).eval()


@torch.no_grad()
def test_attention_over_objects_relates_the_modalities_and_over_one_does_not(network):
    objects, present, cues, given = inputs()
    other, _, other_cues, _ = inputs(1)

    def mixed(count):
        def fused(tokens, about):
            scaled = tuple(4 * cue for cue in about)
            return network(tokens[:, :count], present[:, :count], scaled, given).fused

        difference = fused(objects, cues) - fused(objects, other_cues)
        return (difference - fused(other, cues) + fused(other, other_cues)).abs().max()

    assert mixed(1) < 1e-5
    assert mixed(OBJECTS) > 1e-3


@torch.no_grad()
def test_the_order_of_the_objects_does_not_matter(network):
    objects, present, cues, given = inputs()
    order = torch.randperm(OBJECTS, generator=torch.Generator().manual_seed(3))
    first = network(objects, present, cues, given)
    second = network(objects[:, order], present, cues, given)
    torch.testing.assert_close(second.logits, first.logits[:, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second.fused, first.fused, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_absent_objects_and_cues_have_no_influence(network):
    objects, present, cues, given = inputs()
    present[:, 4:] = 0
    given[:, 1:] = 0
    first = network(objects, present, cues, given)
    changed = objects.clone()
    changed[:, 4:] = 100
    other = (cues[0], cues[1] * 50, cues[2] - 7)
    second = network(changed, present, other, given)
    torch.testing.assert_close(first.fused, second.fused)
    assert torch.softmax(first.logits, 1)[:, 4:].max() == 0
    assert first.fused.shape == (BATCH, 256)


@torch.no_grad()
def test_without_cues_all_objects_are_equally_likely(network):
    objects, present, cues, given = inputs()
    weights = torch.softmax(network(objects, present, cues, given * 0).logits, 1)
    torch.testing.assert_close(weights, torch.full((BATCH, OBJECTS), 1 / OBJECTS))


@torch.no_grad()
def test_the_trust_of_a_cue_scales_its_vote(network):
    objects, present, cues, given = inputs()
    given[:, 1:] = 0
    full = network(objects, present, cues, given).logits
    half = network(objects, present, cues, given / 2).logits
    torch.testing.assert_close(half, full / 2)


@torch.no_grad()
def test_the_logits_are_the_sum_of_those_of_the_cues_weighted_by_their_trust(network):
    objects, present, cues, given = inputs()
    present[:, 5] = 0
    given = torch.tensor([0.5, 1.0, 0.0]).repeat(BATCH, 1)
    found = network(objects, present, cues, given)
    total = (given[..., None] * found.by_cue).sum(1)
    torch.testing.assert_close(found.logits[:, :5], total[:, :5])
    assert found.by_cue[..., 5].max() < -1e3


@torch.no_grad()
def test_a_cue_can_select_the_object_nearest_to_a_place():
    torch.manual_seed(3)
    network = CrossModalAttention(FusionConfig()).eval()
    objects, present, cues, given = inputs()
    objects[..., 128:130] = objects[..., 128:130].clamp(-0.9, 0.9)
    given[:, :2] = 0
    place = torch.tensor([[0.2, -0.3]]).repeat(BATCH, 1)
    cues[2][:, :2] = place
    # −|place − position|², without the part that is the same for all objects.
    body = network.places[2]
    body.weight[0, 0] = body.weight[1, 1] = 2.0
    body.bias[2:4] = -1.0
    near = network(objects, present, cues, given).by_cue[:, 2]
    body.weight.zero_()
    body.bias.zero_()
    change = near - network(objects, present, cues, given).by_cue[:, 2]
    distance = ((objects[..., 128:130] - place[:, None]) ** 2).sum(2)
    assert (change.argmax(1) == distance.argmin(1)).all()
    torch.testing.assert_close(
        change - change.mean(1, keepdim=True), 64 * (distance.mean(1, keepdim=True) - distance),
        atol=1e-3, rtol=1e-3,
    )  # fmt: skip


@torch.no_grad()
def test_slots_are_tokens_beside_the_crops_and_absent_ones_have_no_influence():
    torch.manual_seed(2)
    network = CrossModalAttention(FusionConfig(slot_dim=16)).eval()
    objects, present, cues, given = inputs()
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn(BATCH, 3, 20, generator=generator)
    some = torch.tensor([1.0, 1, 0]).repeat(BATCH, 1)
    found = network(objects, present, cues, given, SlotTokens(tokens, some))
    assert found.logits.shape == (BATCH, OBJECTS + 3)
    assert torch.softmax(found.logits, 1)[:, -1].max() == 0
    assert torch.softmax(found.logits, 1)[:, OBJECTS : OBJECTS + 2].min() > 0
    without = network(objects, present, cues, given)
    none = network(objects, present, cues, given, SlotTokens(tokens, some * 0))
    torch.testing.assert_close(none.fused, without.fused)
    torch.testing.assert_close(none.logits[:, :OBJECTS], without.logits)
    # Slots alone are enough.
    alone = network(objects, present * 0, cues, given, SlotTokens(tokens, some))
    assert torch.softmax(alone.logits, 1)[:, :OBJECTS].max() == 0


def test_the_loss_of_single_cues_counts_only_where_there_are_several():
    by_cue = torch.tensor([[[2.0, 0, 0], [0, 1.0, 0], [0, 0, 5.0]]]).repeat(2, 1, 1)
    right = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    given = torch.tensor([[1.0, 0.5, 0], [0, 0, 1.0]])
    expected = -by_cue[0].log_softmax(1)[:2, 0].sum() / 2
    torch.testing.assert_close(cue_loss(by_cue, right, given), expected)


@torch.no_grad()
def test_the_decoder_returns_a_token_and_the_proprioception(network):
    token, body = network.decode(torch.zeros(3, 256))
    assert token.shape == (3, 132)
    assert body.shape == (3, 32)


def test_concatenation_depends_on_the_order_of_the_objects():
    torch.manual_seed(0)
    network = Concatenation(FusionConfig(), OBJECTS).eval()
    objects, present, cues, given = inputs()
    with torch.no_grad():
        first, second = (
            network(each, present, cues, given) for each in (objects, objects.flip(1))
        )
    assert (second.flip(1) - first).abs().max() > 1e-3


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match='not a multiple of heads'):
        FusionConfig(width=100, heads=8)
