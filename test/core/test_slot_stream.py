# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of a camera: regions, tracks, trust, and their use by attention and contexts."""

import numpy as np
import pytest
from tiny_slots import export_tiny_slots

from sage_perception.context.builder import ContextBuilder
from sage_perception.context.layout import ContextError
from sage_perception.context.space import LatentSpace
from sage_perception.core.frame import CropSource
from sage_perception.core.latent import LatentKind, ModelId, Roi
from sage_perception.core.lct import LCT
from sage_perception.memory import Space
from sage_perception.models import load_observation_model, load_slot_encoder
from sage_perception.models.slot_codec import object_slots
from sage_perception.models.slot_encoder import DecodedSlots, Slots
from sage_perception.slots.stream import SlotStream
from sage_perception.trust.arbiter import Arbiter
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.vision.attention import SLOTS_WEIGHT, Attention
from sage_perception.vision.external_regions import ExternalDetection, ExternalRegions
from sage_perception.vision.regions import Candidate

SIDE = 32


class ColorSlots:
    """A slot model whose slots are the colors black, red, green and blue."""

    input_size, input_channels, slot_count = SIDE, 3, 4
    id = ModelId('colors', '1', bytes(range(32)))
    colors = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)

    def __init__(self):
        self.starts = []

    def encode(self, x, seed=0):
        self.starts.append('encode')
        return self._slots(x)

    def track(self, x, previous):
        self.starts.append('track')
        return self._slots(x)

    def _slots(self, x):
        self._x = x
        return Slots(np.arange(8, dtype=np.float32).reshape(1, 4, 2), np.zeros((1, 4, 1)))

    def decode(self, slots, x=None):
        distance = np.square(self._x[:, None] - self.colors[None, :, :, None, None]).sum(2)
        masks = np.exp(-50 * distance)
        images = np.broadcast_to(self.colors[None, :, :, None, None], (1, 4, 3, SIDE, SIDE))
        return DecodedSlots(self._x, images, masks / masks.sum(1, keepdims=True))


def an_image(*squares, size=(128, 256), background=0):
    """Return a BGR image of squares: channel, left, top, side."""
    image = np.full((*size, 3), background, np.uint8)
    for channel, left, top, side in squares:
        image[top : top + side, left : left + side, 2 - channel] = 255
    return image


def test_regions_are_in_pixels_of_the_image_and_largest_first():
    found = SlotStream(ColorSlots()).update(an_image((0, 64, 32, 64), (2, 200, 8, 16)), 1.0)
    assert [latent.roi for latent in found.latents] == [
        Roi(0, 0, 256, 128),
        Roi(64, 32, 64, 64),
        Roi(200, 8, 16, 16),
    ]
    assert all(latent.kind is LatentKind.SLOT for latent in found.latents)
    assert all(latent.model == ColorSlots.id for latent in found.latents)
    np.testing.assert_array_equal(found.latents[1].mean, [2, 3])
    assert found.labels.shape == (SIDE, SIDE)
    assert (found.labels[10, 10], found.labels[0, 0], found.labels[3, 26]) == (2, 1, 3)


def test_trust_is_what_the_slot_explains_of_its_region():
    exact = an_image((0, 64, 32, 64))
    noisy = exact.copy()
    noisy[32:96, 64:128] = np.random.default_rng(0).integers(0, 90, (64, 64, 3))
    noisy[32:96, 64:128, 2] = np.random.default_rng(1).integers(150, 255, (64, 64))
    trusts = []
    for image in (exact, noisy):
        found = SlotStream(ColorSlots()).update(image, 1.0)
        trusts.append(found.latents[1].telemetry.trust)
    assert trusts[0] == pytest.approx(1, abs=1e-3)
    assert 0 <= trusts[1] < 0.9


def test_a_track_stays_with_its_object_and_ends_when_the_slot_moves_on():
    stream = SlotStream(ColorSlots())
    ids = [
        stream.update(an_image((0, 8 * n, 32, 64)), 1 + 0.1 * n).latents[1].track_id
        for n in range(10)
    ]
    assert len(set(ids)) == 1
    assert ids[0] > 0
    jumped = stream.update(an_image((0, 190, 0, 32)), 2.1).latents[1].track_id
    assert jumped not in ids
    without = stream.update(an_image(), 2.2)
    assert len(without.latents) == 1
    back = stream.update(an_image((0, 190, 0, 32)), 2.3).latents[1].track_id
    assert back == jumped


def test_slots_are_carried_over_until_the_time_or_the_size_changes():
    model = ColorSlots()
    stream = SlotStream(model)
    for stamp_s in (1.0, 1.1, 1.2, 5.0, 4.9):
        stream.update(an_image(), stamp_s)
    stream.update(an_image(size=(64, 64)), 5.0)
    assert model.starts == ['encode', 'track', 'track', 'encode', 'encode', 'encode']


def test_an_exported_model_gives_latents(tmp_path):
    export_tiny_slots(tmp_path, slot_dim=64)
    model = load_slot_encoder(tmp_path / 'model')
    stream = SlotStream(model, min_area=0.0)
    for n in range(3):
        found = stream.update(an_image((0, 64 + n, 32, 64)), 1 + 0.1 * n)
    assert 1 <= len(found.latents) <= 4
    for latent in found.latents:
        assert latent.dim == 64
        assert 0 <= latent.telemetry.trust <= 1
        assert latent.roi.area > 0
    space = LatentSpace.of(model.id, model.latent_mean.ravel(), model.latent_std.ravel())
    crops = LatentSpace.of(ModelId(), np.zeros(64), np.ones(64))
    builder = ContextBuilder(crops)
    builder.set_slots(found.latents, space)
    rows, mask = builder.build().rows('semantic.slots')
    assert mask[: len(found.latents)].all()
    assert not mask[len(found.latents) :].any()
    expected = space.normalize(found.latents[0].mean)
    np.testing.assert_allclose(rows[0], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ContextError, match='64-D'):
        builder.set_slots(found.latents)


def merged(moving, source=CropSource.SLOTS, score=0.8, box=(10, 10, 50, 50)):
    regions = ExternalRegions(iter(range(100, 200)), source, SLOTS_WEIGHT)
    regions.add(1.0, [ExternalDetection(box, score)])
    regions.move(1.0, np.eye(3))
    return regions.merge(moving, lambda b: Roi(10, 10, 40, 40), 640, 480)


def test_a_slot_that_moves_has_a_higher_score_than_either():
    moving = Candidate(Roi(12, 10, 40, 40), 0.5, CropSource.MOTION, 7)
    [found] = merged([moving])
    assert (found.roi, found.source, found.track_id) == (moving.roi, CropSource.MOTION, 7)
    assert found.score == pytest.approx(0.9)


def test_a_still_slot_is_a_candidate_of_its_own():
    elsewhere = Candidate(Roi(300, 300, 40, 40), 0.5, CropSource.MOTION, 7)
    kept, found = merged([elsewhere])
    assert kept == elsewhere
    assert (found.source, found.score) == (CropSource.SLOTS, pytest.approx(0.4))


def test_attention_crops_slots_of_a_still_scene_but_not_the_background():
    attention = Attention()
    image = np.full((240, 320, 3), 90, np.uint8)
    whole, part = (0.0, 0.0, 320.0, 240.0), (100.0, 60.0, 160.0, 120.0)
    for n in range(5):
        attention.attend(image, 1 + 0.1 * n)
        attention.add_slots(
            1 + 0.1 * n, [ExternalDetection(whole, 0.9), ExternalDetection(part, 0.8)]
        )
    crops = attention.attend(image, 1.5)
    slots = [crop for crop in crops if crop.source == CropSource.SLOTS]
    assert [crop.roi.center for crop in slots] == [pytest.approx((130, 90), abs=1)]
    assert slots[0].score == pytest.approx(SLOTS_WEIGHT * 0.8)


def test_slots_of_two_cameras_are_arbitrated_and_stored_like_crops(tmp_path):
    export_tiny_slots(tmp_path, slot_dim=64)
    codec = load_observation_model(tmp_path / 'model')
    stream = SlotStream(load_slot_encoder(tmp_path / 'model'), min_area=0.0)
    latents = stream.update(an_image((0, 64, 32, 64)), 1.0).latents
    arbiter = Arbiter(['cam0', 'cam1'], codec)
    moments = []
    for camera in arbiter.cameras:
        accepted = []
        for index, latent in enumerate(latents):
            stamps = {'sequence': 1, 'stamp_ns': 10**9, 'index': index}
            lct = LCT.encoded(latent, entity_id=f'{camera}/slots', **stamps)
            verdict = arbiter.admit(camera, lct)
            assert verdict.reason is None
            accepted.append(verdict.accepted)
        moments += arbiter.add_frame(camera, AcceptedFrame(10**9, accepted))
    moments += arbiter.expire(2 * 10**9)
    assert moments[0].agreements == len(latents)
    assert {lct.latent.model for lct in moments[0].fused} == {codec.id}
    space = Space.of(tmp_path / 'model')
    assert (space.model, space.dim) == (codec.id, 64)
    x = np.random.default_rng(0).random((3, 3, 35, 35), np.float32)
    assert codec.encode(x).shape == (3, 64)
    assert codec.decode(codec.encode(x)).shape == x.shape


def test_the_object_of_an_image_is_not_its_background():
    labels = np.zeros((2, 8, 8), int)
    labels[0, 2:6, 2:6] = 3
    labels[0, 6:7, 6:7] = 1
    masks = (labels[:, None] == np.arange(4)[:, None, None]).astype(np.float32)
    assert object_slots(masks).tolist() == [3, 0]
