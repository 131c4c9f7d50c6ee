# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Codes of tracks: when they are computed, what they cost, and how receivers keep them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.codecs.directions import pack_direction, unpack_direction
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId
from sage_perception.core.track_codes import MAX_AGE_S, TrackCodes
from sage_perception.irp.ledger import atp_of
from sage_perception.pipeline.code_encoder import CodeEncoder
from sage_perception.pipeline.code_models import kinds_of
from sage_perception.pipeline.code_schedule import CodePolicy

BOTH = kinds_of('identity,semantic')
MEAN = np.zeros(4, np.float32)
S = 10**9
COST_MS = 5.0
AT_FIRST = CodePolicy(min_age_s=0.0)


class ColorModel:
    """Codes that are the mean color of the upper and the lower half of a crop."""

    id = ModelId('colors', '1', b'c' * 32)
    semantic_space = identity_space = id.fingerprint
    cost_ms = COST_MS
    calls = 0

    def codes(self, images):
        self.calls += 1
        upper, lower = images[:, :, :32].mean((2, 3)), images[:, :, 32:].mean((2, 3))
        unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (upper, lower)]
        return unit[0], unit[1]


def latents_of(*tracks, values=(1, 0, 0, 0)):
    return [Latent(np.array(values, np.float32), track_id=track) for track in tracks]


def inputs_of(count):
    return np.random.default_rng(0).uniform(0.1, 1, (count, 3, 64, 64)).astype(np.float32)


def encode(encoder, latents, stamp_ns, saliences=None):
    saliences = saliences or [1.0] * len(latents)
    return encoder.encode(latents, inputs_of(len(latents)), saliences, stamp_ns)


def coded(frame):
    return [latent.track_id for latent in frame.latents if latent.codes]


@given(
    arrays(np.float32, st.integers(2, 64), elements=st.floats(-1, 1, width=32)).filter(
        lambda code: np.abs(code).max() > 1e-3
    )
)
def test_a_direction_keeps_its_cosine_in_one_byte_per_dimension(code):
    payload = pack_direction(code)
    assert len(payload) == code.size
    decoded = unpack_direction(payload)
    assert np.linalg.norm(decoded) == pytest.approx(1, abs=1e-5)
    assert float(decoded @ code) / np.linalg.norm(code.astype(float)) > 0.99


@pytest.mark.parametrize('code', [np.zeros(4), np.empty(0), np.array([np.nan, 1]), np.eye(2)])
def test_a_code_without_a_direction_is_refused(code):
    with pytest.raises(ValueError, match='code must be'):
        pack_direction(code)


@pytest.mark.parametrize('payload', [b'', bytes(64), bytes(5000)])
def test_bytes_without_a_direction_are_refused(payload):
    with pytest.raises(ValueError, match='not the direction'):
        unpack_direction(payload)


def test_the_codes_of_a_crop_are_those_of_the_model():
    model = ColorModel()
    frame = encode(CodeEncoder(model, BOTH, MEAN, AT_FIRST), latents_of(3), S)
    semantic, identity = model.codes(inputs_of(1))
    (latent,) = frame.latents
    assert [code.kind for code in latent.codes] == [LatentKind.IDENTITY, LatentKind.SEMANTIC]
    assert all(code.model == model.id for code in latent.codes)
    for code, expected in zip(latent.codes, (identity, semantic), strict=True):
        assert unpack_direction(code.payload) @ expected[0] > 0.999
        assert code.trust == 0  # the model has no vocabulary


def test_a_track_gets_codes_once_and_again_after_the_period_or_a_change():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, replace(AT_FIRST, budget_ms=100.0))
    steady, turned = latents_of(1), latents_of(1, values=(0, 1, 0, 0))
    assert coded(encode(encoder, steady, 1 * S)) == [1]
    assert coded(encode(encoder, steady, 2 * S)) == []
    assert coded(encode(encoder, turned, 3 * S)) == [1]
    assert coded(encode(encoder, turned, 3 * S + S // 4)) == []
    assert coded(encode(encoder, steady, 3 * S + S // 4)) == []  # too soon, whatever the change
    assert coded(encode(encoder, turned, 8 * S)) == [1]


def test_tracks_of_a_few_frames_get_no_codes():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, CodePolicy(min_age_s=0.1, budget_ms=100.0))
    found = {}
    for number in range(8):
        latents = latents_of(1, *([2] if number < 3 else []), *([3] if number > 5 else []))
        found[number] = coded(encode(encoder, latents, S + number * S // 30))
    assert [number for number, tracks in found.items() if tracks] == [3]
    assert found[3] == [1]
    # Stamps before the first one of a track start its age again.
    assert coded(encode(encoder, latents_of(4), 2 * S)) == []
    assert coded(encode(encoder, latents_of(4), S)) == []
    assert coded(encode(encoder, latents_of(4), S + S // 5)) == [4]


def test_crops_without_a_track_get_no_codes():
    assert coded(encode(CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST), latents_of(0), S)) == []


def test_the_budget_bounds_the_codes_of_a_frame_and_all_tracks_get_theirs():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, replace(AT_FIRST, budget_ms=2 * COST_MS))
    latents = latents_of(*range(1, 8))
    saliences = [0.1 * track for track in range(1, 8)]
    found = []
    for frame in range(4):
        done = encode(encoder, latents, S + frame * S // 30, saliences)
        assert len(coded(done)) <= 2
        assert sum(share.granted for share in done.shares) <= done.budget
        found.append(coded(done))
    assert found == [[6, 7], [4, 5], [2, 3], [1]]


def test_a_budget_below_the_cost_of_one_code_is_saved_up_while_tracks_wait():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, replace(AT_FIRST, budget_ms=COST_MS / 3))
    found = [bool(coded(encode(encoder, latents_of(1), S + n * S // 30))) for n in range(4)]
    assert found == [False, False, True, False]
    # Nothing is saved up while no track waits.
    assert not coded(encode(encoder, latents_of(1, 2), 2 * S))


def test_the_telemetry_has_the_cost():
    frame = encode(CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST), latents_of(1), S)
    (latent,), (share,) = frame.latents, frame.shares
    assert latent.telemetry.budget_spent == share.granted == share.spent == atp_of(COST_MS)
    assert latent.telemetry.time_s == pytest.approx(frame.time_s)
    assert frame.time_s > 0


def test_codes_that_were_not_sent_are_computed_again():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST)
    encode(encoder, latents_of(1), S)
    encoder.forget(1)
    assert coded(encode(encoder, latents_of(1), S + S // 30)) == [1]


@pytest.mark.parametrize('names', ['color', 'identity,identity', 'semantic,?'])
def test_unknown_and_repeated_kinds_are_refused(names):
    with pytest.raises(ValueError, match='kind of codes'):
        kinds_of(names)
    assert kinds_of('') == ()


def test_receivers_keep_the_last_code_of_each_kind_of_a_bounded_number_of_tracks():
    kept = TrackCodes(max_tracks=3)
    model = ModelId(fingerprint=b'm' * 32)

    def latent(track, kind, payload):
        return replace(latents_of(track)[0], codes=(Code(kind, model, 2, payload),))

    kept.update('cam0', [latent(1, LatentKind.IDENTITY, b'a')], S)
    kept.update('cam0', [latent(1, LatentKind.SEMANTIC, b'b')], 2 * S)
    kept.update('cam0', [latent(1, LatentKind.IDENTITY, b'c')], 3 * S)
    kept.update('cam0', latents_of(1), 4 * S)
    assert sorted(code.payload for code in kept.of('cam0', 1, 4 * S)) == [b'b', b'c']
    assert kept.of('cam1', 1, 4 * S) == ()
    late = 3 * S + round(MAX_AGE_S * 1e9)
    assert [code.payload for code in kept.of('cam0', 1, late)] == [b'c']
    for track in range(2, 50):
        kept.update('cam0', [latent(track, LatentKind.IDENTITY, b'x')], 5 * S)
    assert len(kept) == 3
    assert kept.of('cam0', 1, 5 * S) == ()
    kept.update('cam0', [latent(0, LatentKind.IDENTITY, b'x')], 5 * S)
    assert kept.of('cam0', 0, 5 * S) == ()
