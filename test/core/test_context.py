# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""H contexts: layout, building, and reading back, while cameras join and leave."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.context.builder import AgreementPair, ContextBuilder
from sage_perception.context.context import HContext, read_items
from sage_perception.context.layout import (
    BLOCKS,
    DIM,
    MAX_CAMERAS,
    MAX_ITEMS,
    SEGMENTS,
    ContextError,
)
from sage_perception.context.space import LatentSpace
from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import Snarc

MODEL = ModelId('tiny', '1', bytes(range(32)))
SPACE = LatentSpace.of(MODEL, np.linspace(-1, 1, 64), np.full(64, 0.5))
SIZE = (640, 480)
CENTER = Roi(288, 208, 64, 64)
SCORES = ('surprise', 'novelty', 'arousal', 'reward', 'conflict')


def lct(track=1, roi=CENTER, z=0.5, trust=0.8, camera='cam0', stamp_s=0.0, **changes):
    latent = Latent(
        np.full(64, z, np.float32),
        model=MODEL,
        roi=roi,
        track_id=track,
        telemetry=Telemetry(trust, 0.01, 2.0, 4.0),
    )
    return LCT.encoded(
        replace(latent, **changes),
        entity_id=camera,
        sequence=track + 1,
        stamp_ns=int(stamp_s * 1e9) + 1,
        trust=trust,
    )


def scores_of(builder):
    """Return the SNARC scores of the most salient item, None where they are masked."""
    values, mask = builder.build().rows('logical.items')
    columns = [BLOCKS['logical.items'].fields.index(name) for name in SCORES]
    assert mask[0, columns].all() == mask[0, columns].any()
    return values[0, columns].tolist() if mask[0, columns].all() else None


def test_layout_fills_each_segment_without_overlap():
    sizes = {name: place.stop - place.start for name, place in SEGMENTS.items()}
    assert sizes == {'sensory': 1536, 'semantic': 1024, 'physical': 768, 'logical': 768}
    taken = np.zeros(DIM, int)
    for block in BLOCKS.values():
        taken[block.where] += 1
        place = SEGMENTS[block.segment]
        assert place.start <= block.start
        assert block.start + block.size <= place.stop
        assert len(set(block.fields)) == len(block.fields)
    assert taken.max() == 1


def test_an_empty_context_has_only_time_and_scene():
    context = ContextBuilder(SPACE).build()
    known = {name for name, block in BLOCKS.items() if context.mask[block.where].any()}
    assert known == {'physical.time', 'logical.scene'}
    assert context.items == []
    assert not context.values[~context.mask].any()


def moving_track():
    """Return a builder with one track that moves 80 pixels per second to the right."""
    builder = ContextBuilder(SPACE, ['cam0'])
    for step in range(11):
        roi = Roi(100 + 8 * step, 240 - 32, 64, 64)
        builder.add_frame('cam0', 10 + step / 10, SIZE, [lct(7, roi, z=0.1 * step)])
    return builder


def test_an_item_is_read_back_as_observed():
    context = moving_track().build()
    (item,) = context.items
    assert context.keys == (('cam0', 7),)
    assert item.camera == 0
    assert item.center == pytest.approx((2 * 212 / 640 - 1, 0), abs=1e-6)
    assert item.size == pytest.approx((0.1, 64 / 480))
    assert item.velocity == pytest.approx((2 * 80 / 640, 0), abs=1e-5)
    assert (item.age_s, item.salience, item.trust) == pytest.approx((0, 1, 0.8))
    assert SPACE.denormalize(item.latent) == pytest.approx(np.full(64, 1.0), abs=1e-5)


def test_past_places_are_relative_to_the_newest():
    values, mask = moving_track().build().rows('physical.items')
    fields = BLOCKS['physical.items'].fields
    past = {f: values[0][fields.index(f)] for f in ('past_x_1', 'past_x_2')}
    assert past == pytest.approx({'past_x_1': -0.125, 'past_x_2': -0.25}, abs=1e-5)
    assert mask[0].all()
    assert not mask[1:].any()


def test_the_most_salient_items_come_first_up_to_the_limit():
    builder = ContextBuilder(SPACE)
    for camera in ('a', 'b'):
        many = [lct(t, Roi(t, t, 32, 32), camera=camera) for t in range(1, 17)]
        builder.add_frame(camera, 1.0, SIZE, many)
    context = builder.build()
    saliences = [item.salience for item in context.items]
    assert len(saliences) == MAX_ITEMS
    assert saliences == sorted(saliences, reverse=True)
    assert context.keys[:4] == (('a', 1), ('b', 1), ('a', 2), ('b', 2))


def test_a_camera_that_returns_keeps_its_slot():
    builder = ContextBuilder(SPACE, ['left'], window_s=1.0)
    builder.add_frame('left', 0.0, SIZE, [lct(1)])
    assert {item.camera for item in builder.build().items} == {0}
    builder.add_frame('right', 0.5, SIZE, [lct(1)])
    assert {item.camera for item in builder.build().items} == {0, 1}
    builder.add_frame('right', 1.4, SIZE, [lct(1)])  # left has no frame in the window
    context = builder.build()
    assert {item.camera for item in context.items} == {1}
    assert not context.rows('physical.cameras')[1][0].any()
    builder.add_frame('left', 1.5, SIZE, [lct(2)])
    assert {item.camera for item in builder.build().items} == {0, 1}
    assert builder.cameras == ('left', 'right')


def test_slots_and_budget_are_written_and_can_be_cleared():
    builder = ContextBuilder(SPACE)
    builder.set_slots([lct().latent, lct(z=0.25).latent])
    builder.set_budget(0.5)
    context = builder.build()
    values, mask = context.rows('semantic.slots')
    np.testing.assert_allclose(values[1], SPACE.normalize(np.full(64, 0.25, np.float32)))
    assert mask[:2].all()
    assert not mask[2:].any()
    column = BLOCKS['logical.scene'].fields.index('budget')
    assert context.rows('logical.scene')[0][0, column] == 0.5
    builder.set_slots([])
    builder.set_budget(None)
    context = builder.build()
    assert not context.rows('semantic.slots')[1].any()
    assert not context.rows('logical.scene')[1][0, column]
    with pytest.raises(ContextError, match=r'budget is 1\.5'):
        builder.set_budget(1.5)


def test_rejects_more_cameras_than_slots():
    builder = ContextBuilder(SPACE, [f'cam{i}' for i in range(MAX_CAMERAS)])
    with pytest.raises(ContextError, match='no slot is left for another'):
        builder.add_frame('another', 0.0, SIZE, [])


def test_a_camera_whose_clock_goes_back_starts_over():
    builder = ContextBuilder(SPACE)
    builder.add_frame('cam0', 100.0, SIZE, [lct(1)])
    builder.add_frame('cam0', 5.0, SIZE, [lct(2)])
    assert builder.build().keys == (('cam0', 2),)


def test_agreement_belongs_to_matched_items():
    builder = ContextBuilder(SPACE)
    a, b, alone = lct(1, camera='a'), lct(1, camera='b'), lct(2, camera='b')
    builder.add_frame('a', 1.0, SIZE, [a])
    builder.add_frame('b', 1.0, SIZE, [b, alone])
    builder.add_agreement(1.0, [AgreementPair(a.id, b.id, 0.9)])
    assert [item.agreement for item in builder.build().items] == [
        pytest.approx(0.9),
        pytest.approx(0.9),
        None,
    ]


def test_a_recall_replaces_the_one_before():
    builder = ContextBuilder(SPACE)
    builder.add_frame('a', 1.0, SIZE, [lct(1)])
    builder.set_recall([lct(3, z=0.25).latent])
    values, mask = builder.build().rows('semantic.recall')
    assert SPACE.denormalize(values[0]) == pytest.approx(np.full(64, 0.25))
    assert mask[0].all()
    assert not mask[1:].any()
    builder.set_recall([])
    assert not builder.build().segment_mask('semantic').any()


def test_scores_are_valid_for_the_window():
    builder = ContextBuilder(SPACE, window_s=1.0)
    builder.add_frame('a', 1.0, SIZE, [lct(1)])
    builder.add_scores('a', 1.0, {1: Snarc(0.125, 0.25, 0.5, 0.75, 1)})
    assert scores_of(builder) == [0.125, 0.25, 0.5, 0.75, 1]
    builder.add_frame('a', 2.0, SIZE, [lct(1)])
    assert scores_of(builder) == [0.125, 0.25, 0.5, 0.75, 1]
    builder.add_frame('a', 2.1, SIZE, [lct(1)])
    assert scores_of(builder) is None


def test_scores_of_other_tracks_are_ignored():
    builder = ContextBuilder(SPACE)
    builder.add_frame('a', 1.0, SIZE, [lct(1)])
    builder.add_scores('b', 1.0, {1: Snarc(1, 1, 1, 1, 1)})
    builder.add_scores('a', 1.0, {2: Snarc(1, 1, 1, 1, 1)})
    assert scores_of(builder) is None


@pytest.mark.parametrize('bad', [float('nan'), -0.1, 1.5])
def test_rejects_scores_out_of_range_and_accepts_the_next(bad):
    builder = ContextBuilder(SPACE)
    builder.add_frame('a', 1.0, SIZE, [lct(1)])
    with pytest.raises(ContextError, match=r'not in \[0, 1\]'):
        builder.add_scores('a', 1.0, {1: Snarc(surprise=bad)})
    assert scores_of(builder) is None
    builder.add_scores('a', 1.0, {1: Snarc(0.5, 0.5, 0.5, 0.5, 0.5)})
    assert scores_of(builder) == [0.5] * 5


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (lct(model=ModelId('other', '1', bytes(32))), 'not 64-D ones of other'),
        (lct(mean=np.zeros(16, np.float32)), 'not 16-D ones'),
        (lct(mean=np.full(64, np.nan, np.float32)), 'not finite'),
    ],
)
def test_rejects_a_frame_with_an_invalid_latent_and_accepts_the_next(bad, message):
    builder = ContextBuilder(SPACE)
    with pytest.raises(ContextError, match=message):
        builder.add_frame('cam0', 1.0, SIZE, [lct(1), bad])
    assert builder.build().items == []
    builder.add_frame('cam0', 1.1, SIZE, [lct(1)])
    assert builder.build().keys == (('cam0', 1),)


def test_values_that_were_not_measured_are_masked():
    builder = ContextBuilder(SPACE)
    builder.add_frame('cam0', 1.0, SIZE, [lct(telemetry=Telemetry(0.5))])
    values, mask = builder.build().rows('logical.items')
    fields = BLOCKS['logical.items'].fields
    unknown = {name for name, known in zip(fields, mask[0], strict=True) if not known}
    assert {'error', 'kl', 'agreement', 'surprise'} <= unknown
    assert not unknown & {'salience', 'trust', 'telemetry_trust'}
    assert not values[0][~mask[0]].any()


def test_an_unknown_segment_is_explained():
    context = ContextBuilder(SPACE).build()
    with pytest.raises(ContextError, match='sensory, semantic, physical, logical'):
        context.segment('sensors')


def test_rejects_another_layout():
    context = ContextBuilder(SPACE).build()
    with pytest.raises(ContextError, match='layout 2'):
        HContext(context.values, context.mask, 0.0, layout=2)


FRAMES = st.lists(
    st.tuples(
        st.sampled_from(['a', 'b', 'c']),
        st.floats(0, 5),
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(-40, 700), st.integers(1, 300)), max_size=10
        ),
    ),
    max_size=15,
)


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_contexts_of_any_frames_are_finite_and_zero_where_masked(frames):
    builder = ContextBuilder(SPACE)
    for camera, stamp_s, crops in frames:
        lcts = [lct(t, Roi(x, x // 2, side, side), camera=camera) for t, x, side in crops]
        builder.add_frame(camera, stamp_s, SIZE, lcts)
    context = builder.build()
    assert np.isfinite(context.values).all()
    assert np.abs(context.segment('physical')).max(initial=0) < 20
    assert not context.values[~context.mask].any()
    items = read_items(context.values, context.mask)
    assert len(items) == len(context.keys) <= MAX_ITEMS
    for item, (camera, _) in zip(items, context.keys, strict=True):
        assert context.cameras[item.camera] == camera
        assert 0 < item.salience <= 1
        assert 0 <= item.age_s <= builder.window_s


def test_camera_ahead_of_the_clock_does_not_hide_the_others():
    builder = ContextBuilder(SPACE)
    builder.add_frame('cam0', 100.0, SIZE, [lct(1)], now_s=100.0)
    with pytest.raises(ContextError, match=r'of fast is 3\.0 s ahead of the clock'):
        builder.add_frame('fast', 103.0, SIZE, [lct(2)], now_s=100.0)
    builder.add_frame('near', 100.4, SIZE, [lct(3)], now_s=100.0)
    assert {camera for camera, _ in builder.build().keys} == {'cam0', 'near'}


def test_silent_camera_gives_its_slot_to_a_new_camera():
    builder = ContextBuilder(SPACE, ['cam0', 'cam1'], window_s=2.0)
    for number in range(6):
        builder.add_frame(f'other{number}', 0.1 * number, SIZE, [lct(number)])
    with pytest.raises(ContextError, match='no slot is left for late'):
        builder.add_frame('late', 1.0, SIZE, [lct(9)])
    builder.add_frame('late', 2.05, SIZE, [lct(9)])
    assert 'other0' not in builder.cameras
    assert builder.cameras.index('late') == 2, 'the slot of the one silent for longest'
    builder.add_frame('cam1', 50.0, SIZE, [lct(10)])
    assert builder.cameras[:2] == ('cam0', 'cam1'), 'configured cameras keep their slots'


def test_others_never_take_the_slot_of_a_configured_camera():
    builder = ContextBuilder(SPACE, ['cam0'], window_s=2.0)
    for number in range(100):
        builder.add_frame(f'other{number}', 10.0 * number, SIZE, [lct(number)])
    assert builder.cameras[0] == 'cam0'
    assert len(builder.cameras) == 8
    builder.add_frame('cam0', 990.0, SIZE, [lct(1)])
    assert 'cam0' in {camera for camera, _ in builder.build().keys}


def test_agreements_with_stamps_that_go_back_do_not_pile_up():
    builder = ContextBuilder(SPACE)
    for number in range(5000):
        name = number.to_bytes(16, 'little')
        builder.add_agreement(1e9 - number, [AgreementPair(name, name[::-1], 0.5)])
    assert len(builder._pairs) <= 4096
    assert len(builder._agreement) <= 2 * 4096 + 2
