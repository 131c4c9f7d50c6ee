# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slot models: competition, equivariance, starts, carry-over, the temporal transformer, losses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.models.mask_refinement import DARKEST, MaskRefinement
from sage_perception.models.networks.slots import (
    SequenceConfig,
    SlotModel,
    SlotsConfig,
    TemporalTransformer,
    segment,
)
from sage_perception.models.networks.slots.colors import Colors
from sage_perception.models.networks.slots.positions import RelativePositions
from sage_perception.models.networks.slots.temporal import last_visible
from sage_perception.training.losses import slots as losses

SMALL = {
    'img_size': 20,
    'slots': 3,
    'slot_dim': 16,
    'stride': 2,
    'encoder_channels': (8, 8, 8, 16),
    'decoder_channels': 8,
    'decoder_grid': 5,
}

pytestmark = pytest.mark.usefixtures('one_thread')


def slot_model(**change):
    torch.manual_seed(0)
    return SlotModel(SlotsConfig(**{**SMALL, **change})).eval()


@pytest.fixture
def x():
    return torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'change',
    [
        {},
        {'stride': 1},
        {'stride': 16, 'norm': 'batch', 'masks': 'attention'},
        {'init': 'learned', 'implicit': True},
        {'decoder_grid': 20},
        {'img_size': 35, 'decoder_grid': 9},
        {'input_channels': 1},
        {'positions': 'relative'},
        {'img_size': 35, 'decoder_grid': 9, 'decoder': 'patches'},
        {'positions': 'relative', 'decoder': 'patches', 'decoder_grid': 20},
        {'stride': 5, 'kernel': 3, 'decoder': 'patches', 'decoder_grid': 4},
        {'init': 'image', 'colors': 'affine', 'color_space': 'log'},
        {'init': 'image', 'positions': 'relative', 'colors': 'affine'},
    ],
    ids=lambda change: ', '.join(change) or 'default',
)
def test_composes_an_image_of_masks_that_sum_to_one(change):
    model = slot_model(**change)
    size, channels = model.config.img_size, model.config.input_channels
    output = model(torch.rand(2, channels, size, size))
    assert output.image.shape == (2, channels, size, size)
    assert output.images.shape == (2, 3, channels, size, size)
    assert torch.allclose(output.masks.sum(1), torch.ones(2, size, size), atol=1e-5)
    assert torch.allclose(output.attention.sum(1), torch.ones_like(output.attention[:, 0]))
    assert output.slots.shape == (2, 3, 16)
    assert segment(output.masks).max() <= 2


@pytest.mark.parametrize('decoder', ['convolutions', 'patches'])
def test_a_slot_can_have_a_single_color(x, decoder):
    output = slot_model(colors='slot', decoder=decoder)(x)
    assert torch.equal(output.images, output.images[..., :1, :1].expand(-1, -1, -1, 20, 20))
    assert not torch.equal(output.images[:, 0], output.images[:, 1])
    assert output.masks.std((2, 3)).min() > 0


@pytest.mark.parametrize('positions', ['absolute', 'relative'])
def test_permuted_starts_give_permuted_slots(x, positions):
    model = slot_model(positions=positions)
    tokens, start = model.encoder['tokens'](x), model.encoder['start'](2)
    order = [2, 0, 1]
    slots, attention = model.encoder['attention'](tokens, start, 3)
    moved, moved_attention = model.encoder['attention'](tokens, start[:, order], 3)
    assert torch.allclose(moved, slots[:, order], atol=1e-5)
    assert torch.allclose(moved_attention, attention[:, order], atol=1e-5)
    assert torch.allclose(
        model.decoder(moved, moved_attention).image,
        model.decoder(slots, attention).image,
        atol=1e-5,
    )


def test_a_relative_slot_is_at_the_mean_position_of_its_tokens(x):
    model = slot_model(positions='relative')
    slots, attention = model.attend(x)
    shares = attention / attention.sum(-1, keepdim=True)
    line = torch.linspace(-1, 1, 10)
    y, x = torch.meshgrid(line, line, indexing='ij')
    for axis, place in enumerate((x, y)):
        mean = (shares * place.flatten()).sum(-1)
        assert torch.allclose(slots[..., axis], mean, atol=1e-5)


@given(
    st.tuples(st.integers(0, 24), st.integers(0, 24)),
    st.tuples(st.integers(0, 24), st.integers(0, 24)),
)
@settings(max_examples=50, deadline=None)
def test_relative_positions_depend_only_on_the_offset(first, second):
    relative = RelativePositions(5)
    features, distance = (part[0] for part in relative(relative.points[None]))
    offsets = [relative.points[point] - relative.points[slot] for slot, point in (first, second)]
    assert distance[first] == pytest.approx(float(offsets[0].square().sum()))
    assert features[first][:2] == pytest.approx(offsets[0])
    same = torch.allclose(*offsets)
    assert torch.allclose(features[first], features[second], atol=1e-5) == same


def test_a_token_belongs_to_the_nearest_slot_before_training():
    model = slot_model(positions='relative')
    attention = model.encoder['attention']
    keys = values = torch.zeros(1, 100, 16)
    slots = torch.zeros(1, 2, 16)
    slots[0, :, 0] = torch.tensor([-0.8, 0.8])
    shares = attention.step(keys, values, slots)[1][0].unflatten(-1, (10, 10))
    assert (shares[0, :, :5] > 0.5).all()
    assert (shares[1, :, 5:] > 0.5).all()


def test_a_learned_start_is_the_same_each_time_and_a_random_one_is_not(x):
    learned, random = slot_model(init='learned'), slot_model()
    assert torch.equal(learned.attend(x)[0], learned.attend(x)[0])
    assert not torch.equal(random.attend(x)[0], random.attend(x)[0])


def test_keeps_the_start_that_composes_each_image_best(x):
    model = slot_model(starts=3)
    torch.manual_seed(1)
    found = model.error(x, *model.attend(x))
    torch.manual_seed(1)
    each = torch.stack(
        [model.error(x, *model.refine(x, model.encoder['start'](2))) for _ in range(3)]
    )
    assert torch.allclose(found, each.min(0).values)
    assert (each.max(0).values > found).all()


def test_evaluates_with_more_rounds_than_it_trains_with(x):
    model = slot_model(init='learned', eval_iterations=7)
    start = model.encoder['start'](2)
    assert torch.equal(model.attend(x)[0], model.refine(x, start, 7)[0])
    three = model.refine(x, start, 3)[0]
    assert torch.equal(model.train().refine(x, start)[0], three)
    assert not torch.equal(model.eval().refine(x, start)[0], three)


@pytest.mark.parametrize('color_space', ['rgb', 'log'])
def test_a_start_from_the_image_gives_each_color_a_slot(color_space):
    model = slot_model(init='image', color_space=color_space, positions='relative')
    x = torch.full((2, 3, 20, 20), 0.5)
    x[:, 0, 2:6, 10:16] = 1
    x[:, 2, 12:18, 2:6] = 0
    seeds = model.encoder['seeds']
    tokens = model.tokens(x)
    chosen = seeds.chosen(model.space(x)).argmax(-1)
    rows, columns = chosen // 10, chosen % 10
    found = {(int(r), int(c)) for r, c in zip(rows[0], columns[0], strict=True)}
    assert torch.equal(chosen[0], chosen[1])
    assert len(found & {(r, c) for r in (1, 2) for c in (5, 6, 7)}) == 1
    assert len(found & {(r, c) for r in (6, 7, 8) for c in (1, 2)}) == 1
    start = seeds(model.space(x), tokens)
    assert torch.equal(start[..., :2], seeds.points[chosen])


def test_an_affine_color_changes_linearly_from_the_position_of_the_slot(x):
    model = slot_model(colors='affine', positions='relative')
    slots, attention = model.attend(x)
    images = model.compose(slots, attention).images.detach()
    across, down = images.diff(dim=-1), images.diff(dim=-2)
    assert torch.allclose(across, across[..., :1, :1].expand(across.shape), atol=1e-5)
    assert torch.allclose(down, down[..., :1, :1].expand(down.shape), atol=1e-5)
    assert across.abs().max() > 1e-3
    color = model.decoder.color(slots)[..., :3]
    place = ((slots[..., :2] + 1) * 9.5).round().long().clamp(0, 19)
    rows = torch.arange(2)[:, None, None], torch.arange(3)[None, :, None], torch.arange(3)
    at_slot = images[(*rows, place[..., 1:], place[..., :1])]
    assert torch.allclose(at_slot, color, atol=float(across.abs().max() + down.abs().max()))


@given(st.floats(0.05, 1), st.floats(0.3, 1))
@settings(max_examples=20, deadline=None)
def test_logarithmic_colors_are_invertible_and_shade_changes_their_brightness(weight, shade):
    space = Colors(SlotsConfig(**SMALL, color_space='log', luminance=weight))
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    colors = space(x)
    assert torch.allclose(space.inverse(colors), x, atol=1e-4)
    change = space(shade * (x + DARKEST) - DARKEST) - colors
    assert torch.allclose(change, torch.full_like(change, weight * math.log(shade)), atol=1e-4)
    numpy = MaskRefinement(log=True, luminance=weight).colors(x.numpy())
    assert numpy == pytest.approx(colors.numpy(), abs=1e-5)


@pytest.mark.parametrize('implicit', [False, True])
def test_the_start_and_the_encoder_get_a_gradient(x, implicit):
    model = slot_model(init='learned', implicit=implicit).train()
    (model(x).image - x).square().mean().backward()
    assert model.encoder['start'].mean.grad.abs().sum() > 0
    assert model.encoder['tokens'].convolutions[0].weight.grad.abs().sum() > 0


def test_an_untrained_predictor_carries_slots_over_unchanged(x):
    model = slot_model(init='learned')
    slots = model.attend(x)[0]
    assert torch.equal(model.encoder['predictor'](slots), slots)
    carried = model.frames(torch.stack((x, x), 1))
    restarted = model.frames(torch.stack((x, x), 1), carry=False)
    assert torch.equal(restarted[1].slots, restarted[0].slots)
    assert not torch.equal(carried[1].slots, restarted[1].slots)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'stride': 3}, 'stride is 3'),
        ({'stride': 5, 'img_size': 36}, 'img_size is 36; a stride of 5 requires a multiple of 5'),
        ({'encoder_channels': (8, 8)}, 'encoder_channels has 2 numbers; it must have 4'),
        ({'starts': 2, 'init': 'learned'}, 'starts must be 1'),
        ({'decoder_grid': 40}, 'decoder_grid is 40; it must be at most img_size 20'),
        ({'masks': 'none'}, 'masks is'),
        ({'decoder_features': 4, 'positions': 'relative'}, 'neither relative positions'),
    ],
)
def test_rejects_impossible_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        SlotsConfig(**{**SMALL, **change})


def test_an_untrained_transformer_predicts_the_last_visible_slot():
    torch.manual_seed(0)
    model = TemporalTransformer(SequenceConfig(16)).eval()
    slots = torch.randn(2, 5, 3, 16)
    hidden = torch.zeros(2, 5, 3, dtype=torch.bool)
    hidden[0, 2:, 1] = True
    predicted = model(slots, hidden)
    assert torch.equal(predicted[0, 2:, 1], slots[0, 1, 1].expand(3, 16))
    assert torch.equal(predicted[~hidden], slots[~hidden])


def test_a_trained_transformer_keeps_visible_slots():
    model = TemporalTransformer(SequenceConfig(16)).eval()
    torch.nn.init.normal_(model.output.weight)
    slots, hidden = torch.randn(2, 5, 3, 16), torch.rand(2, 5, 3) < 0.3
    predicted = model(slots, hidden)
    assert torch.equal(predicted[~hidden], slots[~hidden])
    assert not torch.equal(predicted[hidden], slots[hidden])


def test_a_slot_that_was_never_visible_has_the_default():
    slots, hidden = torch.randn(1, 3, 2, 4), torch.zeros(1, 3, 2, dtype=torch.bool)
    hidden[0, :2, 0] = True
    base = last_visible(slots, hidden, torch.full((4,), 7.0))
    assert torch.equal(base[0, :2, 0], torch.full((2, 4), 7.0))
    assert torch.equal(base[0, 2, 0], slots[0, 2, 0])


@pytest.mark.parametrize('causal', [True, False])
def test_a_causal_transformer_ignores_later_frames(causal):
    torch.manual_seed(0)
    model = TemporalTransformer(SequenceConfig(16)).eval()
    torch.nn.init.normal_(model.output.weight)
    slots, hidden = torch.randn(1, 6, 3, 16), torch.zeros(1, 6, 3, dtype=torch.bool)
    hidden[:, 2] = True
    changed = slots.clone()
    changed[:, 4:] = torch.randn(1, 2, 3, 16)
    before, after = (model(each, hidden, causal)[:, :4] for each in (slots, changed))
    assert torch.allclose(before, after, atol=1e-5) is causal


def masks_of(labels, count):
    return torch.nn.functional.one_hot(labels, count).movedim(-1, 1).float()


def test_losses_prefer_the_true_masks_of_flat_objects():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, :4, :4], labels[:, 4:, 4:] = 1, 2
    image = torch.tensor([0.1, 0.5, 0.9])[labels][:, None].expand(-1, 3, -1, -1)
    true, shifted = masks_of(labels, 3), masks_of(labels.roll(2, 1), 3)
    blurred = (true + 0.5) / (true + 0.5).sum(1, keepdim=True)
    assert losses.appearance(true, image) == pytest.approx(0, abs=1e-6)
    assert losses.appearance(shifted, image) > 0.01
    assert losses.mask_entropy(true) == pytest.approx(0, abs=1e-5)
    assert losses.mask_entropy(blurred) > 0.5


def test_attention_composes_the_tokens_of_the_image():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, :4, :4], labels[:, 4:, 4:] = 1, 2
    colors = torch.tensor([0.1, 0.5, 0.9])
    image = colors[labels][:, None].expand(-1, 3, -1, -1)
    images = colors[None, :, None, None, None].expand(-1, -1, 3, 8, 8)
    attention = masks_of(labels[:, ::2, ::2], 3).flatten(2)  # 4×4 tokens of 2 pixels
    assert losses.attention_reconstruction(images, attention, image) == pytest.approx(0)
    swapped = losses.attention_reconstruction(images, attention[:, [0, 2, 1]], image)
    assert swapped == pytest.approx(0.5 * 0.4**2)


@given(st.integers(2, 6))
@settings(max_examples=5)
def test_coverage_is_lowest_for_equal_areas_and_high_for_one_slot(count):
    equal = torch.full((1, count, 4, 4), 1 / count)
    alone = torch.zeros(1, count, 4, 4)
    alone[:, 0] = 1
    assert losses.coverage(equal) < -0.9
    assert losses.coverage(alone) == pytest.approx((count - 1) / count, abs=1e-3)


def test_orthogonality_is_zero_for_orthogonal_and_one_for_parallel_slots():
    assert losses.orthogonality(torch.eye(4)[None]) == pytest.approx(0)
    assert losses.orthogonality(torch.ones(1, 4, 8)) == pytest.approx(1)
