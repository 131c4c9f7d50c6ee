# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Published ids of tracks: those that come back keep theirs, and no two tracks share one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception import models
from sage_perception.core.latent import Latent, Roi
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.pipeline.track_linker import MAX_TRACKS, TrackLinker
from sage_perception.trust.fitted import track_comparer

SECOND = 10**9


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae')


@pytest.fixture(scope='module')
def things(codec):
    """Return latents of five textured things, `[5, D]`."""
    rng = np.random.default_rng(0)
    images = np.stack(
        [np.kron(rng.uniform(30, 220, (4, 4, 3)), np.ones((16, 16, 1))) for _ in range(5)]
    )
    return codec.encode(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)


@pytest.fixture
def linker(codec):
    return TrackLinker(track_comparer(codec), max_gap_s=3.0)


def seen(things, thing, track, x=0):
    return Latent(things[thing], track_id=track, roi=Roi(x, 0, 64, 64))


def test_a_track_that_comes_back_keeps_its_id(linker, things):
    assert linker.link([seen(things, 0, 1), seen(things, 1, 2, 200)], SECOND) == [1, 2]
    assert linker.link([seen(things, 1, 2, 200)], 2 * SECOND) == [2]
    assert linker.link([seen(things, 1, 2, 200), seen(things, 0, 3, 30)], 3 * SECOND) == [2, 1]
    assert linker.link([seen(things, 0, 3, 40)], 4 * SECOND) == [1]
    assert linker.linked == 1


def test_another_thing_gets_an_id_of_its_own(linker, things):
    linker.link([seen(things, 0, 1)], SECOND)
    assert linker.link([seen(things, 2, 2)], 2 * SECOND) == [2]


def test_a_track_that_is_in_view_is_not_taken(linker, things):
    linker.link([seen(things, 0, 1)], SECOND)
    assert linker.link([seen(things, 0, 1), seen(things, 0, 2, 70)], 2 * SECOND) == [1, 2]


def test_a_thing_is_not_found_too_late_or_too_far_away(linker, things):
    linker.link([seen(things, 0, 1)], SECOND)
    assert linker.link([seen(things, 0, 2)], 5 * SECOND) == [2]
    assert linker.link([seen(things, 0, 3, 3000)], 6 * SECOND) == [3]


def test_a_thing_that_resembles_two_lost_ones_stays_new(linker, things):
    linker.link([seen(things, 0, 1), seen(things, 0, 2, 70)], SECOND)
    assert linker.link([seen(things, 0, 3, 30)], 2 * SECOND) == [3]


def test_crops_without_a_track_have_none(linker, things):
    assert linker.link([seen(things, 0, 0), seen(things, 0, 0)], SECOND) == [0, 0]


def test_the_tracks_that_are_kept_are_bounded(linker, things):
    for track in range(1, 2 * MAX_TRACKS):
        linker.link([seen(things, track % 5, track, 1000 * track)], SECOND * track)
    assert len(linker._tracks) == MAX_TRACKS


frames = st.lists(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 9)), unique_by=lambda t: t[1], max_size=4
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(frames)
def test_no_two_tracks_of_a_frame_share_an_id_and_a_track_keeps_its_own(codec, things, frames):
    linker, known, owners = TrackLinker(track_comparer(codec), 3.0), {}, {}
    for number, frame in enumerate(frames):
        latents = [seen(things, thing, track, 80 * track) for thing, track in frame]
        ids = linker.link(latents, SECOND + number * SECOND // 2)
        assert len(set(ids)) == len(ids)
        earlier = dict(owners)
        owners |= {published: track for (_, track), published in zip(frame, ids, strict=True)}
        for (_, track), published in zip(frame, ids, strict=True):
            before = known.get(track, published)
            continues = earlier.get(published, track) != track
            lost = owners[before] != track
            assert before == published or continues or lost
            known[track] = published


def test_a_thing_that_is_seen_in_part_at_first_gets_its_id_a_little_later(linker, things):
    linker.link([seen(things, 0, 1)], SECOND)
    assert linker.link([seen(things, 3, 2)], 2 * SECOND) == [2]
    assert linker.link([seen(things, 0, 2)], 2 * SECOND + SECOND // 2) == [1]
    assert linker.link([seen(things, 3, 2)], 4 * SECOND) == [1]


def test_an_encoder_publishes_the_ids_of_its_linker(codec, linker, things):
    encoder = CropEncoder(codec, linker=linker)
    image = codec.decode(things[:1])
    roi = [Roi(0, 0, 64, 64)]
    first = encoder.encode(image, roi, [1], [1.0], stamp_ns=SECOND)
    again = encoder.encode(image, roi, [2], [1.0], stamp_ns=2 * SECOND)
    assert (first.latents[0].track_id, again.latents[0].track_id) == (1, 1)
    assert list(again.tracks) == [2]


def test_a_model_without_an_agreement_cannot_link(codec, tmp_path):
    bare = replace(codec.artifact, path=tmp_path)
    other = models.load('tinyvae')
    other.artifact = bare
    with pytest.raises(ValueError, match='reentry_s'):
        track_comparer(other)
