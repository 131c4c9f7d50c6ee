# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The scene of `sage view`: messages of a bag become items. Rerun is not needed."""

import collections
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.bags.reader import open_bag
from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.latent import Roi
from sage_perception.viewing.items import (
    Boxes,
    Graph,
    HeatMap,
    ImageItem,
    Points,
    Scalar,
    Text,
)
from sage_perception.viewing.projection import Projection
from sage_perception.viewing.scene import MAX_ENTITIES, Scene
from sage_perception.viewing.sheets import sheet
from sage_perception.vision.composed_frame import MAX_SIDE, composed_frame

BAG = Path(__file__).parents[1] / 'data' / 'bags' / 'sage_msgs_0_1'
CROPS = 'sage_msgs/msg/CropArray'


@pytest.fixture(scope='module')
def drawn():
    """The items of the released bag by path, and its scene."""
    scene = Scene(LatentDecoder(), rate_hz=1000)
    items = collections.defaultdict(list)
    with open_bag(BAG) as bag:
        for message in bag:
            decoded = bag.decode(message.topic, message.data)
            for timed in scene.add(message.topic, message.type_name, decoded, message.log_time_ns):
                items['/'.join(timed.item.path)].append(timed)
    for timed in scene.finish():
        items['/'.join(timed.item.path)].append(timed)
    return scene, items


def test_every_stream_of_the_bag_is_drawn(drawn):
    scene, items = drawn
    kinds = {path: {type(timed.item) for timed in each} for path, each in items.items()}
    for camera in ('cam0', 'cam1'):
        assert kinds[f'{camera}/image'] == {ImageItem}
        assert kinds[f'{camera}/regions'] == {Boxes}
        assert kinds[f'{camera}/crops'] == {ImageItem}
        assert kinds[f'{camera}/latents'] == {HeatMap}
        assert kinds[f'projection/{camera}'] == {Points}
        assert kinds[f'trust/{camera}'] == {Scalar}
        assert kinds[f'reports/{camera}/compression trust'] == {Scalar}
    assert kinds['matches/graph'] == {Graph}
    assert kinds['matches/crops'] == kinds['fused'] == kinds['memory/recall'] == {ImageItem}
    assert kinds['log/memory'] == {Text}
    assert not scene.skipped
    assert list(scene.cameras) == [('cam0',), ('cam1',)]


def test_items_have_the_stamps_and_values_of_the_messages(drawn):
    _, items = drawn
    with open_bag(BAG) as bag:
        arrays = [bag.decode(m.topic, m.data) for m in bag.messages(['/cam0/lcts'])]
    arrays = [each for each in arrays if each.lcts]
    stamps = [each.header.stamp.sec * 10**9 + each.header.stamp.nanosec for each in arrays]
    trusts = [np.mean([lct.trust for lct in each.lcts]) for each in arrays]
    assert [timed.stamp_ns for timed in items['trust/cam0']] == stamps
    assert [timed.item.value for timed in items['trust/cam0']] == pytest.approx(trusts)
    points = items['projection/cam0']
    assert [timed.stamp_ns for timed in points] == stamps
    assert sum(len(timed.item.points) for timed in points) == sum(len(a.lcts) for a in arrays)


def test_reconstructions_are_those_of_the_model(drawn):
    from sage_perception.models import load_crop_codec

    _, items = drawn
    with open_bag(BAG) as bag:
        arrays = [bag.decode(m.topic, m.data) for m in bag.messages(['/cam0/lcts'])]
    lcts = next(each for each in arrays if each.lcts)
    latent = np.asarray(lcts.lcts[0].latent.mean, np.float32)[None]
    codec = load_crop_codec('tinyvae')
    expected = (codec.decode(latent)[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)
    stamp_ns = lcts.header.stamp.sec * 10**9 + lcts.header.stamp.nanosec
    image = next(t.item.image for t in items['cam0/crops'] if t.stamp_ns == stamp_ns)
    side = 96
    shown = image[18 + side + 6 : 18 + 2 * side + 6, 6 : 6 + side]
    difference = np.abs(shown.mean((0, 1)) - expected.mean((0, 1)))
    assert difference.max() < 4


def test_matched_tracks_have_one_color(drawn):
    _, items = drawn
    graph = next(timed.item for timed in items['matches/graph'] if timed.item.edges)
    colors = dict(zip(graph.nodes, graph.colors, strict=True))
    for a, b in graph.edges:
        assert colors[a] == colors[b]


def message(**fields):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=0), frame_id='')
    return SimpleNamespace(header=header, **fields)


@pytest.mark.parametrize(
    ('type_name', 'broken'),
    [
        (CROPS, message(crops=[])),
        (CROPS, message(crops=[], source_width=0, source_height=0, fault=1)),
        (CROPS, message(crops=[], source_width=9, source_height=9, fault=99)),
        (CROPS, SimpleNamespace()),
        ('sage_msgs/msg/LCTArray', message(lcts=None)),
        (
            'sage_msgs/msg/LCTArray',
            message(lcts=[SimpleNamespace(trust='a', latent=SimpleNamespace())]),
        ),
        (
            'sensor_msgs/msg/Image',
            message(encoding='rgb8', height=9, width=9, step=27, is_bigendian=0, data=[0]),
        ),
        ('sensor_msgs/msg/CompressedImage', message(format='jpeg', data=[1, 2, 3])),
        ('sage_msgs/msg/TrustReport', message(entity_b=None, reputation='x')),
    ],
)
def test_malformed_messages_are_counted_and_logged_once(type_name, broken):
    scene = Scene(LatentDecoder())
    last = {'sensor_msgs/msg/Image': 'image_raw', 'sage_msgs/msg/LCTArray': 'lcts'}
    topic = f'/cam0/{last.get(type_name, "crops")}'
    if type_name.endswith('CompressedImage'):
        topic = '/cam0/image_raw/compressed'
    texts = []
    for second in range(3):
        if hasattr(broken, 'header'):
            broken.header.stamp.sec = second + 1
        items = scene.add(topic, type_name, broken, 7)
        texts += [timed.item for timed in items if isinstance(timed.item, Text)]
    assert scene.skipped == {topic: 3}
    assert [text.level for text in texts] == ['WARN']
    assert topic in texts[0].text


def test_names_in_messages_are_bounded():
    scene = Scene(LatentDecoder())
    stamp = SimpleNamespace(sec=1, nanosec=0)
    header = SimpleNamespace(stamp=stamp)
    paths = set()
    for number in range(3 * MAX_ENTITIES):
        names = {'entity_a': f'a{number}', 'entity_b': f'b{number}', 'header': header}
        agreements = SimpleNamespace(**names, agreements=[])
        report = SimpleNamespace(
            **names, reputation=1.0, compression_trust=1.0, refused=0, accepted=0
        )
        for topic, kind, message in (
            ('/agreement', 'AgreementArray', agreements),
            ('/trust_report', 'TrustReport', report),
        ):
            for timed in scene.add(topic, f'sage_msgs/msg/{kind}', message, 1):
                paths.add(timed.item.path)
    assert len(scene.cameras) == MAX_ENTITIES
    assert len({path[1] for path in paths if path[0] == 'reports'}) == MAX_ENTITIES
    assert len(paths) < 10 * MAX_ENTITIES
    assert scene.skipped['/trust_report'] == 2 * MAX_ENTITIES
    assert scene.skipped['/agreement'] > 2 * MAX_ENTITIES


def test_other_topics_are_ignored():
    scene = Scene(LatentDecoder())
    assert list(scene.add('/tf', 'tf2_msgs/msg/TFMessage', SimpleNamespace(), 0)) == []
    assert not scene.skipped


def test_images_are_limited_in_rate_and_scaled_by_stream():
    scene = Scene(LatentDecoder(), rate_hz=10)
    drawn = 0
    for i in range(30):
        image = message(
            encoding='mono16',
            height=4,
            width=4,
            step=8,
            is_bigendian=0,
            data=np.full(32, i, np.uint8),
        )
        image.header.stamp = SimpleNamespace(sec=1, nanosec=i * 33_000_000)
        for timed in scene.add('/robot1/cam0/image_raw', 'sensor_msgs/msg/Image', image, i):
            assert timed.item.path == ('robot1', 'cam0', 'image')
            assert timed.item.image.shape == (4, 4, 3)
            drawn += 1
    assert drawn == 8  # at 0, 132, 231 ms, ...: the frames after at least 100 ms


@given(
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 4), max_size=3),
)
def test_composed_frames_are_bounded(width, height, rois):
    crop = np.zeros((8, 8, 3), np.uint8)
    image, scale = composed_frame(width, height, [(Roi(*roi), crop) for roi in rois])
    assert 1 <= max(image.shape) <= MAX_SIDE
    assert 0 < scale <= 1


def test_composed_frame_shows_the_crops_in_place():
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    image, scale = composed_frame(1280, 960, [(Roi(640, 480, 64, 64), red)])
    assert scale == 0.5
    assert (image[240:272, 320:352] == (255, 0, 0)).all()
    assert (image == (255, 0, 0)).all(-1).sum() == 32 * 32


def test_sheets_have_one_width():
    tile = np.zeros((5, 9, 3), np.uint8)
    sizes = {sheet([[tile, None]] * n, ['a'] * n, [(1, 2, 3)] * n).shape[1] for n in (0, 1, 8, 20)}
    assert len(sizes) == 1


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 40))
def test_projection_is_linear_and_keeps_the_largest_variance(count, dims, fit):
    rng = np.random.default_rng(count * 100 + dims)
    values = rng.normal(size=(count, dims))
    projection = Projection(count=fit)
    found = [pair for i, row in enumerate(values) for pair in projection.add(row[None], i)]
    found += projection.finish()
    assert [tag for _, tag in found] == list(range(count))
    points = np.concatenate([each for each, _ in found])
    assert points.shape == (count, 2)
    fitted = values[: min(fit, count)]
    # A projection on orthonormal axes never lengthens.
    lengths = np.linalg.norm(values - fitted.mean(0), axis=1)
    assert (np.linalg.norm(points, axis=1) <= lengths + 1e-9).all()
    if min(fit, count) >= 2:
        spread = points[: len(fitted)].var(0)
        assert spread[0] + 1e-9 >= max(fitted.var(0).max(), spread[1])


def test_latents_of_another_dimension_are_left_out_of_the_projection():
    projection = Projection(count=2)
    projection.add(np.ones((2, 8)), 'a')
    assert projection.add(np.ones((1, 4)), 'b') == []


def test_command_without_rerun_prints_how_to_install_it(tmp_path):
    program = (
        'import sys; sys.modules["rerun"] = None; '
        'from sage_perception.cli.view import main; sys.exit(main(sys.argv[1:]))'
    )
    done = subprocess.run(
        [sys.executable, '-c', program, str(BAG), '--save', str(tmp_path / 'x.rrd')],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith('sage view: rerun-sdk is not installed: ')
    assert 'requirements/view.txt' in done.stderr
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('arguments', [[], ['bag', '--live'], ['bag', '--web', '--save', 'x.rrd']])
def test_usage_errors(arguments, capsys):
    from sage_perception.cli.view import main

    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1
