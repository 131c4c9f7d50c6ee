# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The salience scores of docs/memory.md: their definitions, and their range for any input."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, ModelId, Roi
from sage_perception.core.lct import LCT
from sage_perception.memory.snarc import AdaptiveScale, Scorer, Snarc, motion, prediction_error

MODEL = ModelId('m', '1', bytes(range(32)))
MEAN = np.full(8, 2.0, np.float32)
SECOND = 10**9
START = 10**18
BOX = Roi(100, 100, 40, 40)
rng = np.random.default_rng(0)


def observation(z, at_s, track=1, roi=BOX, entity='cam0'):
    """Return an LCT of a latent at a time."""
    latent = Latent(np.asarray(z, np.float32), model=MODEL, track_id=track, roi=roi)
    stamp_ns = START + round(at_s * SECOND)
    return LCT.encoded(latent, entity_id=entity, sequence=1, stamp_ns=stamp_ns, trust=1.0)


def noisy_latent(scale=0.01):
    """Return a constant latent with noise."""
    return MEAN + np.array([3, -1, 2, 0, 1, -2, 1, 1]) + scale * rng.standard_normal(8)


@pytest.fixture
def scorer():
    return Scorer(MEAN)


@pytest.fixture
def settled(scorer):
    """Give a scorer that has observed a static track of cam0 from 0 to 3.9 s."""
    for n in range(40):
        scorer.score(observation(noisy_latent(), n * 0.1), 0.01)
    return scorer


any_float = st.floats(width=32)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(any_float, min_size=8, max_size=8),
            *(any_float, any_float, any_float),
            st.integers(-3, 30),
            st.tuples(*[st.integers(0, 2000)] * 4),
        ),
        max_size=30,
    )
)
def test_every_score_is_in_its_range_for_any_input(inputs):
    scorer = Scorer(MEAN)
    for z, novelty, agreement, reward, at_s, roi in inputs:
        scorer.reward(reward, START + at_s * SECOND)
        snarc = scorer.score(observation(z, at_s, roi=Roi(*roi)), novelty, agreement)
        assert all(0 <= score <= 1 for score in (*astuple(snarc), snarc.salience))
    # The state is still valid.
    snarc = scorer.score(observation(noisy_latent(), 100), 0.0)
    assert all(map(math.isfinite, astuple(snarc)))


def test_a_latent_that_is_not_finite_scores_0_and_does_not_change_the_state():
    clean, dirty = Scorer(MEAN), Scorer(MEAN)
    for n in range(40):
        valid = observation(noisy_latent(), n * 0.1)
        invalid = observation(np.full(8, np.nan), n * 0.1 + 0.05)
        assert dirty.score(invalid, 0.5, 0.5) == Snarc()
        assert dirty.score(valid, 0.2, 0.9) == clean.score(valid, 0.2, 0.9)


def test_a_predicted_latent_has_no_surprise(settled):
    assert settled.score(observation(noisy_latent(), 4.0), 0.0).surprise < 0.1


def test_an_unpredicted_latent_has_full_surprise(settled):
    assert settled.score(observation(-noisy_latent(), 4.0), 0.0).surprise == 1.0


def test_a_constant_motion_is_predicted(scorer):
    def at(n):
        angle = n / 20
        return MEAN + 5 * np.array([math.cos(angle), math.sin(angle), 0, 0, 0, 0, 0, 0])

    for n in range(40):
        moving = scorer.score(observation(at(n), n * 0.1), 0.0)
    assert moving.surprise < 0.1
    assert prediction_error(at(40), at(40), MEAN) < prediction_error(at(39), at(40), MEAN)


@pytest.mark.parametrize(
    ('at_s', 'track'),
    [(60, 1), (-1, 1), (0.1, 2), (0.1, 0)],
    ids=['after a gap', 'the clock went back', 'another track', 'no track'],
)
def test_a_latent_without_a_prediction_has_no_surprise(scorer, at_s, track):
    assert scorer.score(observation(noisy_latent(), 0), 0.0).surprise == 0
    assert scorer.score(observation(-noisy_latent(), at_s, track=track), 0.0).surprise == 0


def test_equal_track_ids_of_two_cameras_are_different_tracks(settled):
    assert settled.score(observation(-noisy_latent(), 4.0, entity='cam1'), 0.0).surprise == 0


def test_motion_combines_speed_and_growth_relative_to_the_size():
    assert motion(BOX, BOX, 0.1) == 0
    assert motion(BOX, Roi(140, 100, 40, 40), 0.5) == pytest.approx(2.0)
    assert motion(BOX, Roi(80, 80, 80, 80), 0.5) == pytest.approx(2 * math.log(2))
    assert math.isnan(motion(None, BOX, 0.1))


def test_arousal_is_1_for_a_fast_object_and_0_for_a_static_one(settled):
    assert settled.score(observation(noisy_latent(), 4.0), 0.0).arousal == 0
    fast = observation(noisy_latent(), 4.1, roi=Roi(140, 100, 40, 40))
    assert settled.score(fast, 0.0).arousal == 1


@pytest.mark.parametrize(('value', 'score'), [(0.4, 0.4), (-0.4, 0.4), (9.0, 1.0), (math.nan, 0)])
def test_reward_counts_by_its_magnitude_and_decays(scorer, value, score):
    scorer.reward(value, START)
    assert scorer.score(observation(noisy_latent(), -0.2), 0.0).reward == pytest.approx(score)
    assert scorer.score(observation(noisy_latent(), 1.0), 0.0).reward == pytest.approx(
        score / math.e
    )
    assert scorer.score(observation(noisy_latent(), -3600), 0.0).reward == 0


@pytest.mark.parametrize(('value', 'score'), [(0.8, 0.8), (7.0, 1), (-1.0, 0), (float('nan'), 0)])
def test_a_sound_raises_the_arousal_and_decays(scorer, value, score):
    scorer.sound(value, START)
    assert scorer.score(observation(noisy_latent(), -0.2), 0.0).arousal == pytest.approx(score)
    later = scorer.score(observation(noisy_latent(), 1.0), 0.0)
    assert later.arousal == pytest.approx(score * math.exp(-1))
    assert later.reward == 0


def test_a_smaller_reward_does_not_replace_a_larger_one(scorer):
    scorer.reward(1.0, START)
    scorer.reward(0.1, START + 1000)
    assert scorer.score(observation(noisy_latent(), 0.0), 0.0).reward > 0.99


@pytest.mark.parametrize(
    ('agreement', 'conflict'), [(None, 0), (1.0, 0), (-1.0, 1), (math.nan, 1)]
)
def test_conflict_is_disagreement_or_an_unmeasured_agreement(scorer, agreement, conflict):
    assert scorer.score(observation(noisy_latent(), 0), 0.0, agreement).conflict == conflict


def test_salience_is_the_noisy_or_of_the_scores():
    assert Snarc().salience == 0
    assert Snarc(conflict=1.0).salience == 1
    assert Snarc(0.5, 0.5).salience == pytest.approx(0.75)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=600), st.floats(0, 1e6))
def test_a_scale_adapts_within_its_bounds(values, raw):
    scale = AdaptiveScale(1.0, 10.0)
    for value in values:
        scale.score(value)
    low, high = scale.bounds
    assert 0 <= low <= high / 2 <= 5
    assert 1 <= high <= 10
    assert scale.score(raw) == pytest.approx(min(max((raw - low) / (high - low), 0), 1))


def test_a_scale_does_not_amplify_small_noise():
    scale = AdaptiveScale(1.0, 10.0)
    for _ in range(600):
        scale.score(1e-3 * rng.random())
    assert scale.score(1e-3) < 0.01


def test_a_scale_is_not_desensitized_by_large_values():
    scale = AdaptiveScale(1.0, 10.0)
    for _ in range(600):
        scale.score(1e3 * rng.random())
    assert scale.score(10.0) == 1
