# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Salience: each score means what docs/memory.md says, and is in [0, 1] whatever comes in."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, ModelId, Roi
from sage_perception.core.lct import LCT
from sage_perception.memory.snarc import Scale, Scorer, Snarc, motion_of, prediction_error

MODEL = ModelId('m', '1', bytes(range(32)))
MEAN = np.full(8, 2.0, np.float32)
SECOND = 10**9
START = 10**18
BOX = Roi(100, 100, 40, 40)
rng = np.random.default_rng(0)


def look(z, at_s, track=1, roi=BOX, entity='cam0'):
    latent = Latent(np.asarray(z, np.float32), model=MODEL, track_id=track, roi=roi)
    stamp_ns = START + round(at_s * SECOND)
    return LCT.encoded(latent, entity_id=entity, sequence=1, stamp_ns=stamp_ns, trust=1.0)


def jitter(scale=0.01):
    return MEAN + np.array([3, -1, 2, 0, 1, -2, 1, 1]) + scale * rng.standard_normal(8)


def settled(scorer, **fixed):
    """Let a scorer see a thing that stays as it is for a while; return the time after."""
    for n in range(40):
        scorer.score(look(jitter(), n * 0.1, **fixed), 0.01)
    return 4.0


anything = st.floats(width=32)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(anything, min_size=8, max_size=8),
            *(anything, anything, anything),
            st.integers(-3, 30),
            st.tuples(*[st.integers(0, 2000)] * 4),
        ),
        max_size=30,
    )
)
def test_every_score_is_in_its_range_whatever_comes_in(sights):
    scorer = Scorer(MEAN)
    for z, novelty, agreement, reward, at, roi in sights:
        scorer.reward(reward, START + at * SECOND)
        parts = scorer.score(look(z, at, roi=Roi(*roi)), novelty, agreement)
        assert all(0 <= part <= 1 for part in (*astuple(parts), parts.salience))
    # Nothing of it has poisoned what comes after.
    calm = Scorer(MEAN).score(look(jitter(), 100), 0.0)
    assert all(map(math.isfinite, astuple(calm)))


def test_a_latent_that_is_not_finite_scores_nothing_and_leaves_no_trace():
    clean, dirty = Scorer(MEAN), Scorer(MEAN)
    for n in range(40):
        sight = look(jitter(), n * 0.1)
        bad = look(np.full(8, np.nan), n * 0.1 + 0.05)
        assert dirty.score(bad, 0.5, 0.5) == Snarc()
        assert dirty.score(sight, 0.2, 0.9) == clean.score(sight, 0.2, 0.9)


def test_what_was_predicted_is_no_surprise_and_what_was_not_is():
    scorer = Scorer(MEAN)
    now = settled(scorer)
    assert scorer.score(look(jitter(), now), 0.0).surprise < 0.1
    assert scorer.score(look(-jitter(), now + 0.1), 0.0).surprise == 1.0


def test_a_steady_change_is_less_of_a_surprise_than_its_end():
    """The prediction goes on with a motion: to hold still is then what was not foreseen."""

    def at(n):
        angle = n / 20
        return MEAN + 5 * np.array([math.cos(angle), math.sin(angle), 0, 0, 0, 0, 0, 0])

    scorer = Scorer(MEAN)
    for n in range(40):
        moving = scorer.score(look(at(n), n * 0.1), 0.0)
    assert moving.surprise < 0.1
    predicted = at(40)
    assert prediction_error(at(40), predicted, MEAN) < prediction_error(at(39), predicted, MEAN)


def test_a_first_look_and_one_after_a_gap_cannot_surprise():
    scorer = Scorer(MEAN)
    assert scorer.score(look(jitter(), 0), 0.0).surprise == 0
    assert scorer.score(look(-jitter(), 60), 0.0).surprise == 0  # lost for too long
    assert scorer.score(look(jitter(), 1), 0.0).surprise == 0  # the clock went back
    assert scorer.score(look(-jitter(), 1.1, track=0), 0.0).surprise == 0  # no track


def test_tracks_of_two_cameras_are_not_mixed_up():
    scorer = Scorer(MEAN)
    settled(scorer, entity='cam0')
    assert scorer.score(look(-jitter(), 4.0, entity='cam1'), 0.0).surprise == 0


def test_a_thing_that_moves_or_grows_arouses_and_one_that_rests_does_not():
    assert motion_of(BOX, BOX, 0.1) == 0
    assert motion_of(BOX, Roi(140, 100, 40, 40), 0.5) == pytest.approx(2.0)
    assert motion_of(BOX, Roi(80, 80, 80, 80), 0.5) == pytest.approx(2 * math.log(2))
    assert math.isnan(motion_of(None, BOX, 0.1))
    scorer = Scorer(MEAN)
    now = settled(scorer)
    assert scorer.score(look(jitter(), now), 0.0).arousal == 0
    fast = look(jitter(), now + 0.1, roi=Roi(140, 100, 40, 40))
    assert scorer.score(fast, 0.0).arousal == 1


@pytest.mark.parametrize(('value', 'score'), [(0.4, 0.4), (-0.4, 0.4), (9.0, 1.0), (math.nan, 0)])
def test_reward_counts_by_its_magnitude_and_fades(value, score):
    scorer = Scorer(MEAN)
    scorer.reward(value, START)
    assert scorer.score(look(jitter(), -0.2), 0.0).reward == pytest.approx(score)
    assert scorer.score(look(jitter(), 1.0), 0.0).reward == pytest.approx(score / math.e)
    assert scorer.score(look(jitter(), -3600), 0.0).reward == 0


def test_a_lesser_reward_does_not_cut_a_greater_short():
    scorer = Scorer(MEAN)
    scorer.reward(1.0, START)
    scorer.reward(0.1, START + 1000)
    assert scorer.score(look(jitter(), 0.0), 0.0).reward > 0.99


def test_disagreement_is_conflict_and_so_is_what_could_not_be_measured():
    scorer = Scorer(MEAN)
    assert scorer.score(look(jitter(), 0), 0.0, None).conflict == 0
    assert scorer.score(look(jitter(), 0), 0.0, 1.0).conflict == 0
    assert scorer.score(look(jitter(), 0), 0.0, -1.0).conflict == 1
    assert scorer.score(look(jitter(), 0), 0.0, math.nan).conflict == 1


def test_salience_is_all_of_its_greatest_part_and_grows_with_each():
    assert Snarc().salience == 0
    assert Snarc(conflict=1.0).salience == 1
    assert Snarc(0.5, 0.5).salience == pytest.approx(0.75)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=600), st.floats(0, 1e6))
def test_a_scale_adapts_within_its_bounds(values, raw):
    scale = Scale(1.0, 10.0)
    for value in values:
        scale.score(value)
    low, high = scale.marks
    assert 0 <= low <= high / 2 <= 5
    assert 1 <= high <= 10
    assert scale.score(raw) == pytest.approx(min(max((raw - low) / (high - low), 0), 1))


def test_noise_in_a_still_world_is_not_magnified_and_uproar_does_not_deafen():
    still, uproar = Scale(1.0, 10.0), Scale(1.0, 10.0)
    for _ in range(600):
        still.score(1e-3 * rng.random())
        uproar.score(1e3 * rng.random())
    assert still.score(1e-3) < 0.01
    assert uproar.score(10.0) == 1
