# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The H context: what goes in can be read back, whoever comes and goes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.context.context import (
    BLOCKS,
    CAMERAS,
    DIM,
    ITEMS,
    SEGMENTS,
    ContextBuilder,
    ContextError,
    HContext,
    LatentSpace,
    Match,
    read_items,
)
from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.memory import Snarc

MODEL = ModelId('tiny', '1', bytes(range(32)))
SPACE = LatentSpace.of(MODEL, np.linspace(-1, 1, 64), np.full(64, 0.5))
SIZE = (640, 480)
MIDDLE = Roi(288, 208, 64, 64)


def lct(track=1, roi=MIDDLE, z=0.5, trust=0.8, camera='cam0', stamp_s=0.0, **change):
    latent = Latent(
        np.full(64, z, np.float32),
        model=MODEL,
        roi=roi,
        track_id=track,
        telemetry=Telemetry(trust, 0.01, 2.0, 4.0),
    )
    return LCT.encoded(
        replace(latent, **change),
        entity_id=camera,
        sequence=track + 1,
        stamp_ns=int(stamp_s * 1e9) + 1,
        trust=trust,
    )


def test_the_layout_fills_each_segment_without_overlap():
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


def test_nothing_seen_is_nothing_known():
    context = ContextBuilder(SPACE).build()
    known = {name for name, block in BLOCKS.items() if context.mask[block.where].any()}
    assert known == {'physical.time', 'logical.scene'}
    assert context.items == []
    assert not context.values[~context.mask].any()


def test_an_item_is_read_back_as_it_was_seen():
    builder = ContextBuilder(SPACE, ['cam0'])
    for step in range(11):
        roi = Roi(100 + 8 * step, 240 - 32, 64, 64)
        builder.see('cam0', 10 + step / 10, SIZE, [lct(7, roi, z=0.1 * step)])
    context = builder.build()
    (item,) = context.items
    assert context.keys == (('cam0', 7),)
    assert item.camera == 0
    assert item.center == pytest.approx((2 * 212 / 640 - 1, 0), abs=1e-6)
    assert item.size == pytest.approx((0.1, 64 / 480))
    assert item.velocity == pytest.approx((2 * 80 / 640, 0), abs=1e-5)
    assert (item.age_s, item.salience, item.trust) == pytest.approx((0, 1, 0.8))
    assert SPACE.take(item.latent) == pytest.approx(np.full(64, 1.0), abs=1e-5)
    values, mask = context.rows('physical.items')
    past = {
        f: values[0][BLOCKS['physical.items'].fields.index(f)] for f in ('past_x_1', 'past_x_2')
    }
    assert past == pytest.approx({'past_x_1': -0.125, 'past_x_2': -0.25}, abs=1e-5)
    assert mask[0].all()
    assert not mask[1:].any()


def test_the_most_salient_comes_first_and_the_rest_has_no_room():
    builder = ContextBuilder(SPACE)
    for camera in ('a', 'b'):
        many = [lct(t, Roi(t, t, 32, 32), camera=camera) for t in range(1, 17)]
        builder.see(camera, 1.0, SIZE, many)
    context = builder.build()
    saliences = [item.salience for item in context.items]
    assert len(saliences) == ITEMS
    assert saliences == sorted(saliences, reverse=True)
    assert context.keys[:4] == (('a', 1), ('b', 1), ('a', 2), ('b', 2))


def test_cameras_join_late_leave_and_come_back_to_their_slot():
    builder = ContextBuilder(SPACE, ['left'], window_s=1.0)
    builder.see('left', 0.0, SIZE, [lct(1)])
    assert {item.camera for item in builder.build().items} == {0}
    builder.see('right', 0.5, SIZE, [lct(1)])
    assert {item.camera for item in builder.build().items} == {0, 1}
    builder.see('right', 1.4, SIZE, [lct(1)])  # left has said nothing for longer than the window
    context = builder.build()
    assert {item.camera for item in context.items} == {1}
    assert not context.rows('physical.cameras')[1][0].any()
    builder.see('left', 1.5, SIZE, [lct(2)])
    assert {item.camera for item in builder.build().items} == {0, 1}
    assert builder.cameras == ('left', 'right')


def test_no_more_cameras_than_slots():
    builder = ContextBuilder(SPACE, [f'cam{i}' for i in range(CAMERAS)])
    with pytest.raises(ContextError, match='one camera too many'):
        builder.see('another', 0.0, SIZE, [])


def test_a_camera_whose_clock_goes_back_begins_anew():
    builder = ContextBuilder(SPACE)
    builder.see('cam0', 100.0, SIZE, [lct(1)])
    builder.see('cam0', 5.0, SIZE, [lct(2)])
    assert builder.build().keys == (('cam0', 2),)


def test_agreement_and_recall_stand_where_they_belong():
    builder = ContextBuilder(SPACE)
    a, b, alone = lct(1, camera='a'), lct(1, camera='b'), lct(2, camera='b')
    builder.see('a', 1.0, SIZE, [a])
    builder.see('b', 1.0, SIZE, [b, alone])
    builder.agree(1.0, [Match(a.id, b.id, 0.9)])
    builder.recall([lct(3, z=0.25).latent])
    context = builder.build()
    assert [item.agreement for item in context.items] == [
        pytest.approx(0.9),
        pytest.approx(0.9),
        None,
    ]
    values, mask = context.rows('semantic.recall')
    assert SPACE.take(values[0]) == pytest.approx(np.full(64, 0.25))
    assert mask[0].all()
    assert not mask[1:].any()
    builder.recall([])
    assert not builder.build().segment_mask('semantic').any()


def test_salience_found_by_memory_stands_for_the_window():
    builder = ContextBuilder(SPACE, window_s=1.0)
    fields = BLOCKS['logical.items'].fields
    first, last = fields.index('surprise'), fields.index('conflict')

    def scored():
        values, mask = builder.build().rows('logical.items')
        known = mask[0, first : last + 1]
        return values[0, first : last + 1].tolist() if known.all() else known.any()

    builder.see('a', 1.0, SIZE, [lct(1)])
    builder.score('b', 1.0, {1: Snarc(1, 1, 1, 1, 1)})
    builder.score('a', 1.0, {2: Snarc(1, 1, 1, 1, 1)})
    assert scored() is np.False_
    builder.score('a', 1.0, {1: Snarc(0.125, 0.25, 0.5, 0.75, 1)})
    assert scored() == [0.125, 0.25, 0.5, 0.75, 1]
    builder.see('a', 2.0, SIZE, [lct(1)])
    assert scored() == [0.125, 0.25, 0.5, 0.75, 1]
    builder.see('a', 2.1, SIZE, [lct(1)])
    assert scored() is np.False_
    for bad in (float('nan'), -0.1, 1.5):
        with pytest.raises(ContextError, match=r'not in \[0, 1\]'):
            builder.score('a', 2.1, {1: Snarc(surprise=bad)})


@pytest.mark.parametrize(
    ('bad', 'says'),
    [
        (lct(model=ModelId('other', '1', bytes(32))), 'does not belong'),
        (lct(mean=np.zeros(16, np.float32)), '16 numbers'),
        (lct(mean=np.full(64, np.nan, np.float32)), 'not finite'),
    ],
)
def test_a_bad_latent_is_refused_and_nothing_of_its_frame_is_taken(bad, says):
    builder = ContextBuilder(SPACE)
    with pytest.raises(ContextError, match=says):
        builder.see('cam0', 1.0, SIZE, [lct(1), bad])
    assert builder.build().items == []


def test_what_was_not_measured_is_masked():
    builder = ContextBuilder(SPACE)
    builder.see('cam0', 1.0, SIZE, [lct(telemetry=Telemetry(0.5))])
    values, mask = builder.build().rows('logical.items')
    fields = BLOCKS['logical.items'].fields
    unknown = {name for name, known in zip(fields, mask[0], strict=True) if not known}
    assert {'error', 'kl', 'agreement', 'surprise'} <= unknown
    assert not unknown & {'salience', 'trust', 'telemetry_trust'}
    assert not values[0][~mask[0]].any()


def test_a_name_that_is_none_is_explained():
    context = ContextBuilder(SPACE).build()
    with pytest.raises(ContextError, match='sensory, semantic, physical, logical'):
        context.segment('sensors')
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
def test_whatever_is_seen_contexts_are_finite_and_say_nothing_where_they_know_nothing(frames):
    builder = ContextBuilder(SPACE)
    for camera, stamp_s, looks in frames:
        seen = [lct(t, Roi(x, x // 2, side, side), camera=camera) for t, x, side in looks]
        builder.see(camera, stamp_s, SIZE, seen)
    context = builder.build()
    assert np.isfinite(context.values).all()
    assert np.abs(context.segment('physical')).max(initial=0) < 20
    assert not context.values[~context.mask].any()
    items = read_items(context.values, context.mask)
    assert len(items) == len(context.keys) <= ITEMS
    for item, (camera, _) in zip(items, context.keys, strict=True):
        assert context.cameras[item.camera] == camera
        assert 0 < item.salience <= 1
        assert 0 <= item.age_s <= builder.window_s
