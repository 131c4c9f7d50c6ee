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
from sage_perception.core.track_codes import LOST_NS, MAX_AGE_S, TrackCodes
from sage_perception.irp.ledger import atp_of
from sage_perception.pipeline import code_models
from sage_perception.pipeline.code_encoder import (
    MAX_BATCH,
    MAX_WAIT_NS,
    CodeEncoder,
    immediately,
)
from sage_perception.pipeline.code_models import code_model_of, kinds_of
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
    """Return the tracks whose latents carry codes."""
    return [latent.track_id for latent in frame.latents if latent.codes]


def granted(frame):
    """Return the tracks whose codes are computed."""
    pairs = zip(frame.tracks, frame.shares, strict=True)
    return sorted(track for track, share in pairs if share.granted)


class Later:
    """Runs jobs when `end` is called, as a thread that is busy until then."""

    def __init__(self):
        self.jobs = []

    def __call__(self, job):
        self.jobs.append(job)

    def end(self):
        self.jobs.pop()()


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


def test_the_codes_of_a_crop_travel_with_the_next_latent_of_its_track():
    model = ColorModel()
    encoder = CodeEncoder(model, BOTH, MEAN, AT_FIRST)
    assert coded(encode(encoder, latents_of(3), S)) == []
    inputs = np.full((2, 3, 64, 64), 0.5, np.float32)
    done = encoder.encode(latents_of(4, 3), inputs, [1.0, 1.0], S + S // 30)
    semantic, identity = model.codes(inputs_of(1))
    other, latent = done.latents
    assert not other.codes
    assert [code.kind for code in latent.codes] == [LatentKind.IDENTITY, LatentKind.SEMANTIC]
    assert all(code.model == model.id for code in latent.codes)
    for code, expected in zip(latent.codes, (identity, semantic), strict=True):
        assert unpack_direction(code.payload) @ expected[0] > 0.999
        assert code.trust == 0  # the model has no vocabulary
    assert coded(encode(encoder, latents_of(3), S + S // 15)) == []


def test_a_track_gets_codes_once_and_again_after_the_period_or_a_change():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, replace(AT_FIRST, budget_ms=100.0))
    steady, turned = latents_of(1), latents_of(1, values=(0, 1, 0, 0))
    assert granted(encode(encoder, steady, 1 * S)) == [1]
    assert granted(encode(encoder, steady, 2 * S)) == []
    assert granted(encode(encoder, turned, 3 * S)) == [1]
    assert granted(encode(encoder, turned, 3 * S + S // 4)) == []
    assert granted(encode(encoder, steady, 3 * S + S // 4)) == []  # too soon for any change
    for at_s in (4.5, 6.0, 7.5):
        assert granted(encode(encoder, turned, round(at_s * S))) == []
    assert granted(encode(encoder, turned, 8 * S)) == [1]


def test_tracks_of_a_few_frames_get_no_codes():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, CodePolicy(min_age_s=0.1, budget_ms=100.0))
    found = {}
    for number in range(8):
        latents = latents_of(1, *([2] if number < 3 else []), *([3] if number > 5 else []))
        found[number] = granted(encode(encoder, latents, S + number * S // 30))
    assert [number for number, tracks in found.items() if tracks] == [3]
    assert found[3] == [1]
    # Stamps before the first one of a track start its age again.
    assert granted(encode(encoder, latents_of(4), 2 * S)) == []
    assert granted(encode(encoder, latents_of(4), S)) == []
    assert granted(encode(encoder, latents_of(4), S + S // 5)) == [4]


def test_a_number_that_was_absent_is_that_of_a_new_track():
    policy = CodePolicy(period_s=3600.0, min_age_s=0.1)
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, policy)
    found = []
    for at_s in (1.0, 1.1, 2.0, 3.5, 9.0, 9.1):
        found += [at_s] * len(granted(encode(encoder, latents_of(1), round(at_s * S))))
    assert found == [1.1, 9.1]


def test_crops_without_a_track_get_no_codes():
    assert not granted(encode(CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST), latents_of(0), S))


def test_the_budget_bounds_the_codes_of_a_frame_and_all_tracks_get_theirs():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, replace(AT_FIRST, budget_ms=2 * COST_MS))
    latents = latents_of(*range(1, 8))
    saliences = [0.1 * track for track in range(1, 8)]
    found, sent = [], []
    for frame in range(5):
        done = encode(encoder, latents, S + frame * S // 30, saliences)
        assert len(granted(done)) <= 2
        assert sum(share.granted for share in done.shares) <= done.budget
        found.append(granted(done))
        sent.append(coded(done))
    assert found == [[6, 7], [4, 5], [2, 3], [1], []]
    assert sent == [[], [6, 7], [4, 5], [2, 3], [1]]


def test_a_budget_below_the_cost_of_one_code_is_saved_up_while_tracks_wait():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, replace(AT_FIRST, budget_ms=COST_MS / 3))
    found = [bool(granted(encode(encoder, latents_of(1), S + n * S // 30))) for n in range(4)]
    assert found == [False, False, True, False]
    # Nothing is saved up while no track waits.
    assert not granted(encode(encoder, latents_of(1, 2), 2 * S))


def test_the_budget_has_the_cost_and_the_telemetry_of_the_latent_stays_that_of_the_latent():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST)
    plain = latents_of(1)
    (share,) = encode(encoder, plain, S).shares
    (latent,) = encode(encoder, plain, S + S // 30).latents
    assert share.granted == share.spent == atp_of(COST_MS)
    assert latent.codes
    assert latent.telemetry == plain[0].telemetry
    assert encoder.time_s > 0


def test_codes_that_were_not_sent_travel_with_the_next_latent():
    model = ColorModel()
    encoder = CodeEncoder(model, BOTH, MEAN, AT_FIRST)
    encode(encoder, latents_of(1), S)
    (unsent,) = encode(encoder, latents_of(1), S + S // 30).latents
    encoder.keep(1)
    encoder.keep(2)
    (latent,) = encode(encoder, latents_of(1), S + S // 15).latents
    assert latent.codes == unsent.codes
    assert model.calls == 1


def test_codes_of_a_track_that_is_gone_are_dropped_and_computed_again_for_the_next_one():
    encoder = CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST)
    assert granted(encode(encoder, latents_of(1), S)) == [1]
    back = encode(encoder, latents_of(1), S + MAX_WAIT_NS + 1)
    assert coded(back) == []
    assert granted(back) == [1]


def test_latents_do_not_wait_for_codes_and_the_next_job_has_the_newest_crops():
    model, run = ColorModel(), Later()
    policy = replace(AT_FIRST, budget_ms=COST_MS)
    encoder = CodeEncoder(model, BOTH, MEAN, policy, run)
    frames = [encode(encoder, latents_of(1, 2), S + n * S // 30, [0.9, 0.1]) for n in range(3)]
    assert [granted(frame) for frame in frames] == [[1], [], []]
    assert [coded(frame) for frame in frames] == [[], [], []]
    assert (len(run.jobs), model.calls, encoder.count) == (1, 0, 0)
    run.end()
    bright = np.ones((2, 3, 64, 64), np.float32)
    done = encoder.encode(latents_of(1, 2), bright, [0.9, 0.1], S + S // 10)
    assert (coded(done), granted(done)) == ([1], [2])
    run.end()
    done = encode(encoder, latents_of(1, 2), S + S // 6)
    assert (coded(done), granted(done)) == ([2], [])
    assert unpack_direction(done.latents[1].codes[0].payload) == pytest.approx(3**-0.5, abs=0.01)


@given(st.lists(st.sets(st.integers(1, 6), min_size=1), min_size=2, max_size=20))
def test_a_replay_gives_the_codes_of_a_graph_whose_thread_keeps_up(frames):
    run = Later()
    offline, online = (
        CodeEncoder(ColorModel(), BOTH, MEAN, AT_FIRST, r) for r in (immediately, run)
    )
    for number, tracks in enumerate(frames):
        latents, stamp_ns = latents_of(*sorted(tracks)), S + number * S // 5
        found = [encode(encoder, latents, stamp_ns) for encoder in (offline, online)]
        codes = [[latent.codes for latent in frame.latents] for frame in found]
        assert codes[0] == codes[1]
        if run.jobs:
            run.end()


def test_a_job_is_bounded_and_one_that_failed_is_repeated():
    class Failing(ColorModel):
        def codes(self, images):
            raise ZeroDivisionError

    run = Later()
    encoder = CodeEncoder(Failing(), BOTH, MEAN, replace(AT_FIRST, budget_ms=1000.0), run)
    latents = latents_of(*range(1, 20))
    assert len(granted(encode(encoder, latents, S))) == MAX_BATCH
    with pytest.raises(ZeroDivisionError):
        run.end()
    again = encode(encoder, latents, S + S // 30)
    assert (coded(again), len(granted(again))) == ([], MAX_BATCH)
    offline = CodeEncoder(Failing(), BOTH, MEAN, AT_FIRST)
    with pytest.raises(ZeroDivisionError):
        encode(offline, latents, S)


@pytest.mark.parametrize('names', ['color', 'identity,identity', 'semantic,?'])
def test_unknown_and_repeated_kinds_are_refused(names):
    with pytest.raises(ValueError, match='kind of codes'):
        kinds_of(names)
    assert kinds_of('') == ()


@pytest.mark.parametrize(('found', 'kinds'), [(True, (LatentKind.IDENTITY,)), (False, ())])
def test_identity_codes_are_the_default_where_their_model_can_run(monkeypatch, found, kinds):
    monkeypatch.setattr(code_models, 'installed', {'onnxruntime': found}.__getitem__)
    assert kinds_of(code_models.AUTO) == kinds


@pytest.mark.parametrize(
    ('codes', 'model'),
    [
        ('auto', 'semantic_small'),
        ('identity', 'semantic_small'),
        ('semantic', 'semantic_text'),
        ('identity,semantic', 'semantic_text'),
    ],
)
def test_nouns_need_the_larger_model_by_default(codes, model):
    assert code_model_of('', kinds_of(codes)) == model
    assert code_model_of('mine', kinds_of(codes)) == 'mine'


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
    for stamp_ns in range(5 * S, late + 1, S):  # frames without codes
        kept.update('cam0', latents_of(1), stamp_ns)
    assert [code.payload for code in kept.of('cam0', 1, late)] == [b'c']
    for track in range(2, 50):
        kept.update('cam0', [latent(track, LatentKind.IDENTITY, b'x')], late)
    assert len(kept) == 3
    assert kept.of('cam0', 1, late) == ()
    kept.update('cam0', [latent(0, LatentKind.IDENTITY, b'x')], late)
    assert kept.of('cam0', 0, late) == ()


@pytest.mark.parametrize('later', [LOST_NS + 1, -LOST_NS - 1])
def test_the_codes_of_a_track_end_when_it_is_lost(later):
    kept, model = TrackCodes(), ModelId(fingerprint=b'm' * 32)
    first, second = (Code(LatentKind.IDENTITY, model, 2, each) for each in (b'a', b'b'))
    kept.update('cam0', [replace(latents_of(1)[0], codes=(first,))], 9 * S)
    assert kept.of('cam0', 1, 9 * S + LOST_NS) == (first,)
    assert kept.of('cam0', 1, 9 * S + later) == ()
    kept.update('cam0', latents_of(1), 9 * S + later)  # another track with the same number
    assert kept.of('cam0', 1, 9 * S + later) == kept.of('cam0', 1, 9 * S) == ()
    semantic = replace(second, kind=LatentKind.SEMANTIC)
    kept.update('cam0', [replace(latents_of(1)[0], codes=(semantic,))], 9 * S + later)
    assert kept.of('cam0', 1, 9 * S + later) == (semantic,)
