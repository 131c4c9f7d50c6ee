# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Things: tracks of cameras and robots that are merged and split with evidence."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memories import DIM, SECOND, SPACE, START, lct

from sage_perception.core.latent import Code, LatentKind, ModelId
from sage_perception.memory import open_store
from sage_perception.memory.session import MemorySession, SessionConfig
from sage_perception.memory.things import MAX_TRACKS, MERGE, Things
from sage_perception.trust.fusion.comparison import Comparison, View

CAM0, CAM1 = ('cam0', 1), ('cam1', 7)


class Direction:
    """Compares latents: 8 for the same one, −8 for others."""

    def view(self, camera, lcts):
        return View(np.stack([each.latent.mean for each in lcts]))

    def compare(self, a, b):
        same = np.array([[np.allclose(x, y) for y in b.latents] for x in a.latents])
        ratio = np.where(same, 8.0, -8.0)
        return Comparison(ratio, ratio, ratio, ratio)


def z_of(number):
    return SPACE.mean + np.random.default_rng(number).standard_normal(DIM)


def see(things, entity, *tracks, at_s, looks=None):
    """Observe tracks; `looks` are the seeds of their latents, by default their numbers."""
    looks = looks or tracks
    lcts = [
        lct(track, z_of(look), at_s=at_s, entity=entity, track=track)
        for track, look in zip(tracks, looks, strict=True)
    ]
    things.observe(entity, lcts, START + round(at_s * SECOND))


def agree(things, a, b, log_ratio, at_s):
    things.add_agreement(a, b, log_ratio, START + round(at_s * SECOND))


def two_cameras(things, seconds, log_ratio=3.0, start_s=0.0):
    for second in range(seconds):
        at_s = start_s + second
        see(things, 'cam0', 1, at_s=at_s)
        see(things, 'cam1', 7, at_s=at_s)
        agree(things, CAM0, CAM1, log_ratio, at_s)


def test_a_code_counts_although_its_lct_is_not_the_best_of_the_track():
    things = Things(Direction())
    code = Code(LatentKind.IDENTITY, ModelId('m', '1', b'm' * 32), 2, b'code')
    best, coded = lct(1, at_s=0), replace(lct(2, at_s=0.1), trust=0.5)
    coded = replace(coded, latent=replace(coded.latent, codes=(code,)))
    for each in (best, coded):
        things.observe('cam0', [each], each.stamp_ns)
    [track] = things._tracks.values()
    [view] = track.lcts
    assert view.latent.codes == (code,)
    np.testing.assert_array_equal(view.latent.mean, best.latent.mean)


def test_a_thing_is_known_by_each_of_its_last_views():
    things = Things(Direction())
    for second, look in enumerate((4, 5, 6, 7, 8)):
        see(things, 'cam0', 1, 2, at_s=second, looks=[look, 20 + look])
    for track, look in ((3, 4), (4, 5), (5, 26)):
        for second in range(3):
            see(things, 'cam0', track, at_s=10 * track + second, looks=[look])
    known, other = things.thing('cam0', 1), things.thing('cam0', 2)
    assert things.thing('cam0', 3) not in (known, other)  # its look is no longer kept
    assert (things.thing('cam0', 4), things.thing('cam0', 5)) == (known, other)


def test_tracks_of_two_cameras_are_merged_after_enough_evidence():
    things = Things()
    two_cameras(things, 1)
    assert things.thing(*CAM0) != things.thing(*CAM1)
    two_cameras(things, 2, start_s=1)
    assert things.thing(*CAM0) == things.thing(*CAM1) != 0
    (event,) = things.take().events
    assert (event.kind, event.thing) == ('merge', things.thing(*CAM0))
    assert event.evidence >= MERGE
    assert 'track 1 of cam0 and track 7 of cam1' in event.reason
    assert things.counts['merges'] == 1


def test_frames_in_quick_succession_count_as_one_observation():
    things = Things()
    for n in range(10):
        see(things, 'cam0', 1, at_s=n / 30)
        see(things, 'cam1', 7, at_s=n / 30)
        agree(things, CAM0, CAM1, 3.0, n / 30)
    assert things.counts['merges'] == 0


def test_contrary_evidence_splits_a_thing_and_the_split_is_an_event():
    things = Things()
    two_cameras(things, 3)
    things.take()
    two_cameras(things, 6, log_ratio=-3.0, start_s=3)
    assert things.thing(*CAM0) != things.thing(*CAM1)
    changes = things.take()
    (event,) = changes.events
    assert event.kind == 'split'
    assert {row.thing for row in changes.tracks} == {things.thing(*CAM0), things.thing(*CAM1)}
    assert things.counts['splits'] == 1


def test_two_tracks_in_one_frame_are_never_one_thing():
    things = Things()
    two_cameras(things, 3)
    see(things, 'cam0', 1, 2, at_s=3)
    for second in range(4, 8):
        see(things, 'cam0', 1, 2, at_s=second)
        see(things, 'cam1', 7, at_s=second)
        agree(things, ('cam0', 2), CAM1, 3.0, second)
    assert things.thing('cam0', 1) != things.thing('cam0', 2)
    assert things.counts['conflicts'] > 0


def test_a_thing_whose_tracks_appear_in_one_frame_is_split_at_its_weakest_link():
    things = Things()
    two_cameras(things, 5)  # cam0/1 = cam1/7, strong
    for second in range(5, 7):
        see(things, 'cam0', 2, at_s=second)
        see(things, 'cam1', 7, at_s=second)
        agree(things, ('cam0', 2), CAM1, 3.0, second)
    assert things.thing('cam0', 2) == things.thing('cam0', 1)
    see(things, 'cam0', 1, 2, at_s=7)
    assert things.thing('cam0', 1) == things.thing(*CAM1) != things.thing('cam0', 2)
    assert [event.kind for event in things.take().events] == ['merge', 'merge', 'split']


def test_a_track_that_comes_back_is_the_thing_that_it_resembles():
    things = Things(Direction())
    for second in range(3):
        see(things, 'cam0', 1, 2, at_s=second)
    for second in range(10, 13):
        see(things, 'robot2/cam0', 9, at_s=second, looks=[2])
    assert things.thing('robot2/cam0', 9) == things.thing('cam0', 2)
    (event,) = things.take().events
    assert 'best of 2 earlier things' in event.reason


def test_a_track_that_resembles_two_things_alike_stays_its_own():
    things = Things(Direction())
    for second in range(3):
        see(things, 'cam0', 1, 2, at_s=second, looks=[5, 5])
    for second in range(10, 13):
        see(things, 'cam0', 9, at_s=second, looks=[5])
    assert things.counts['merges'] == 0


def test_a_number_that_is_used_again_is_another_track():
    things = Things()
    see(things, 'cam0', 1, at_s=0)
    first = things.thing('cam0', 1)
    see(things, 'cam0', 1, at_s=500)
    assert things.thing('cam0', 1) != first


def test_numbers_that_are_used_again_leave_nothing_behind():
    things = Things()
    two_cameras(things, 3)
    number = things.thing(*CAM0)
    see(things, 'cam0', 1, 2, at_s=500)
    assert things.thing(*CAM1) == number != things.thing(*CAM0)
    sizes = set()
    for second in range(20):
        see(things, 'cam0', 1, 2, at_s=400 - second)  # each time before the last one
        sizes.add((len(things._graph._near), len(things._links), len(things._apart)))
    assert sizes == {(1, 0, 1)}


def test_the_number_of_a_thing_stays_when_its_oldest_track_is_forgotten():
    things = Things()
    two_cameras(things, 3)
    number = things.thing(*CAM1)
    for track in range(100, 100 + MAX_TRACKS - 1):
        see(things, 'cam2', track, at_s=4)
        see(things, 'cam1', 7, at_s=5)
    assert things.thing(*CAM0) == 0
    assert things.thing(*CAM1) == number


steps = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3),
        st.floats(-4, 4),
    ),
    max_size=40,
)  # fmt: skip


@given(steps)
def test_things_are_consistent_and_every_change_is_an_event(evidence):
    things = Things()
    known: dict[tuple[str, int], int] = {}
    for second, (camera, track, other_camera, other, ratio) in enumerate(evidence):
        a, b = (f'cam{camera}', track), (f'cam{other_camera}', other)
        see(things, *a, at_s=float(second))
        see(things, *b, at_s=float(second))
        before = {place: things.thing(*place) for place in known}
        agree(things, a, b, ratio, second)
        changes = things.take()
        after = {place: things.thing(*place) for place in {*known, a, b}}
        moved = [place for place, thing in before.items() if after[place] != thing]
        assert bool(moved) <= bool(changes.events)
        saved = {(row.entity, row.track): row.thing for row in changes.tracks}
        known = {**known, **saved}
        assert known == after
    assert things.counts['merges'] >= things.counts['splits']


class Log:
    info = warning = error = staticmethod(print)


@pytest.mark.parametrize('fitted', [True, False])
def test_a_session_links_the_tracks_of_agreeing_cameras_and_keeps_the_things(tmp_path, fitted):
    path = tmp_path / 'memory.db'
    session = MemorySession(SessionConfig(path, threshold=0.0, min_novelty=0.0), SPACE, Log())
    for second in range(4):
        ours = lct(10 + second, z_of(10 + second), at_s=second, entity='cam0', track=1)
        theirs = lct(20 + second, z_of(20 + second), at_s=second, entity='cam1', track=7)
        session.add_agreement((ours.id, theirs.id), 0.9, 3.0 if fitted else float('nan'))
        session.observe([ours])
        session.observe([theirs])
    session.maintain()
    assert session.thing_counts['merges'] == fitted
    session.close()
    with open_store(path, SPACE, create=False) as store:
        assert store.extra_counts()[1]['merges'] == fitted
        rows = {row.entity: row.thing for row, _ in store.known_tracks(10)}
    assert (rows['cam0'] == rows['cam1']) == fitted


def test_things_of_the_store_are_known_after_a_restart(tmp_path):
    path = tmp_path / 'memory.db'
    config = SessionConfig(path, threshold=0.0, min_novelty=-1.0, comparer=Direction())

    def run(entity, track, start_s, look):
        session = MemorySession(config, SPACE, Log())
        for n in range(3):
            session.observe(
                [lct(100 * track + n, z_of(look), at_s=start_s + n, entity=entity, track=track)]
            )
        session.close()

    run('robot1/cam0', 1, 0, look=4)
    run('robot2/cam0', 2, 50, look=4)
    run('robot2/cam0', 3, 90, look=5)
    with open_store(path, SPACE, create=False) as store:
        things = {row.track: row.thing for row, _ in store.known_tracks(10)}
        assert store.extra_counts()[1]['merges'] == 1
    assert things[1] == things[2] != things[3]
