# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slot models that compose features, and the prediction of hidden slots over time."""

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.models.networks.slots import SlotsConfig, TemporalTransformer
from sage_perception.models.networks.slots.feature_decoder import FeatureDecoder
from sage_perception.models.registry import load_slot_encoder
from sage_perception.slots.sequences import extrapolate, slot_sequences
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.objects import pool
from sage_perception.training.data.objects.moving import HIDDEN_FRAMES, occluded_sprites
from sage_perception.training.export.export import export
from sage_perception.training.runs import load_run
from sage_perception.training.tasks.slot_sequences.task import MAX_SPAN, hidden_spans
from sage_perception.training.tasks.slots.features import Targets
from sage_perception.training.tasks.slots.photographs import Photographs
from sage_perception.training.train import train
from sage_perception.vision.sprites import make_background, make_sprite

pytestmark = pytest.mark.usefixtures('one_thread')


def test_features_are_composed_by_the_attention():
    torch.manual_seed(0)
    config = SlotsConfig(
        img_size=32, slots=3, slot_dim=8, stride=16, masks='attention', decoder_features=5
    )
    decoder = FeatureDecoder(config)
    slots = torch.randn(2, 3, 8)
    attention = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 1]] * 2), 3).mT.float()
    composed = decoder.features(slots, attention)
    assert torch.allclose(composed[:, 3], decoder.values(slots)[:, 1])
    decoded = decoder(slots, attention)
    assert torch.allclose(decoded.masks.sum(1), torch.ones(2, 32, 32), atol=1e-6)
    assert torch.allclose(decoded.image[:, :, 0, 0], decoder.values(slots)[:, 0, :3], atol=1e-5)


def test_targets_have_the_variance_of_the_features_they_keep():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 2, 2, 6)).astype(np.float32) * (9, 5, 3, 0.1, 0.1, 0.1)
    colors = np.full((40, 2, 2, 3), 255, np.uint8)
    images = Photographs(np.zeros((40, 2, 2, 1), np.float16), features, colors)
    targets = Targets(images, 3)(images)
    assert targets.shape == (40, 2, 2, 6)
    assert targets[..., 3:].var().item() == pytest.approx(1, abs=0.05)
    assert (targets[..., :3] == 2).all()


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_hidden_spans_are_short_and_leave_the_first_frame(seed):
    hidden = hidden_spans(np.random.default_rng(seed), (3, 24, 5))
    assert not hidden[:, 0].any()
    assert 0.02 < hidden.mean() < 0.35
    assert hidden.any()
    assert MAX_SPAN < 24


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(2, 4))
@settings(max_examples=10)
def test_linear_motion_is_extrapolated_exactly(start, step, first):
    slots = (start + step * np.arange(8.0))[None, :, None, None].repeat(3, -1)
    hidden = np.zeros((1, 8, 1), bool)
    hidden[:, first:6] = True
    assert np.allclose(extrapolate(slots, hidden), slots)


def test_a_bar_hides_object_1_for_twelve_frames_and_it_comes_back():
    for seed in range(6):
        labels = occluded_sprites(np.random.default_rng(seed)).labels
        areas = (labels == 1).sum((1, 2))
        gone = np.flatnonzero(areas == 0)
        assert HIDDEN_FRAMES - 1 <= len(gone) <= HIDDEN_FRAMES + 3
        assert (np.diff(gone) == 1).all()
        whole = areas >= 0.9 * areas.max()
        assert whole[: gone[0]].any()
        assert whole[gone[-1] :].any()


def test_a_temporal_transformer_is_trained_on_slots_and_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path / 'cache')
    model = load_slot_encoder('slots')
    tree = {
        'name': 'tiny_sequences',
        'version': '1',
        'family': 'slot_sequences',
        'encoder': 'slots',
        'model': {'slot_dim': model.latent_dim, 'layers': 1},
        'scenes': {'set': 'moving_sprites', 'count': 3, 'held_out': 2, 'frames': 24},
        'training': {'steps': 4, 'epoch': 2, 'batch': 2, 'warmup': 1},
    }
    path = tmp_path / 'c.yaml'
    path.write_text(yaml.safe_dump(tree))
    config = read_config(path)
    train(config, tmp_path / 'run', progress=False)
    export(config, tmp_path / 'run', tmp_path / 'model')
    assert (tmp_path / 'model' / 'encoder.onnx').is_file()
    assert isinstance(load_run(config, tmp_path / 'run', TemporalTransformer), TemporalTransformer)
    videos = occluded_sprites(np.random.default_rng(0)).image[None, :3]
    assert slot_sequences(model, videos).shape == (1, 3, model.slot_count, model.latent_dim)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'encoder': ''}, 'encoder is missing'),
        ({'scenes': {'set': 'solids'}}, 'slot_sequences requires videos'),
    ],
)
def test_explains_a_configuration_of_sequences_that_cannot_be_used(tmp_path, changes, message):
    tree = {
        'name': 'n',
        'version': '1',
        'family': 'slot_sequences',
        'encoder': 'slots',
        'model': {},
        'scenes': {'set': 'moving_sprites'},
        'training': {},
    }
    path = tmp_path / 'c.yaml'
    path.write_text(yaml.safe_dump(tree | changes))
    with pytest.raises(ConfigError, match=message):
        train(read_config(path), tmp_path / 'run', progress=False)


def test_features_are_learned_from_photographs_only():
    with pytest.raises(ValueError, match='decoder_features requires attention'):
        SlotsConfig(decoder_features=8)
    with pytest.raises(ValueError, match='requires stride 16'):
        SlotsConfig(encoder='efficientnet')


def test_a_slot_of_the_shipped_model_stays_with_an_object():
    model = load_slot_encoder('slots')
    rng = np.random.default_rng(0)
    background, sprite = make_background(rng, 192, 128), make_sprite(rng, np.array([56, 56]), 0)
    slots, owners = None, []
    for left in (40, 48, 56):
        image = background[:, :128].astype(np.float32)
        cover = sprite.opacity[..., None]
        window = np.s_[36:92, left : left + 56]
        image[window] = cover * sprite.image + (1 - cover) * image[window]
        x = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        slots = model.encode(x) if slots is None else model.track(x, slots.slots)
        masks = model.decode(slots).masks[0]
        assert np.allclose(masks.sum(0), 1, atol=1e-4)
        inside = np.zeros((128, 128), bool)
        inside[window] = sprite.opacity > 0.5
        owner = masks.argmax(0)
        scores = [((owner == k) & inside).sum() / ((owner == k) | inside).sum() for k in range(7)]
        assert max(scores) > 0.4
        owners.append(int(np.argmax(scores)))
    assert len(set(owners)) == 1
