# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generated scenes of objects, and the training of a slot model on them."""

import importlib.util
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from tiny_slots import config_file, export_tiny_slots

from sage_perception.cli import slots as slots_command
from sage_perception.core.latent import Roi
from sage_perception.models import ModelError, load_codec
from sage_perception.models.networks.slots import SlotModel
from sage_perception.models.registry import load_slot_encoder
from sage_perception.slots.segmentation import segment, slot_regions
from sage_perception.slots.video import SlotFrame
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.objects import pool
from sage_perception.training.data.objects.moving import FRAMES
from sage_perception.training.data.objects.pool import GENERATORS, scenes
from sage_perception.training.data.objects.rendered import CAMERA, Solid, intersect, render
from sage_perception.training.data.objects.tetrominoes import ORIENTATIONS, TILE, tetrominoes
from sage_perception.training.data.objects.tumbling import tumbling
from sage_perception.training.runs import load_run
from sage_perception.training.tasks.slots.data import SceneBatches, with_time
from sage_perception.training.train import train
from sage_perception.viewing.slot_items import slot_items

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.mark.parametrize('name', ['tetrominoes', 'sprites', 'solids'])
def test_a_scene_depends_only_on_its_seed_and_shows_every_object(name):
    first, again, other = (GENERATORS[name](np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == (*first.labels.shape, 3)
    objects = np.unique(first.labels)
    assert objects.tolist() == list(range(len(objects)))
    assert len(objects) >= 3


def test_tumbling_objects_turn_and_keep_their_color():
    video, again = (tumbling(np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(video.image, again.image)
    assert video.labels.max() >= 3
    for label in range(1, int(video.labels.max()) + 1):
        shown = [video.labels[i] == label for i in (0, -1)]
        if min(map(np.count_nonzero, shown)) < 100:
            continue
        assert (shown[0] != shown[1]).mean() > 0.002
        first, last = (i[s].mean(0) for i, s in zip(video.image[[0, -1]], shown, strict=True))
        assert first @ last > 0.98 * np.linalg.norm(first) * np.linalg.norm(last)


def test_there_are_19_tetrominoes_of_four_tiles():
    assert len(ORIENTATIONS) == 19
    assert {int(shape.sum()) for shape in ORIENTATIONS} == {4}
    areas = np.bincount(tetrominoes(np.random.default_rng(0)).labels.ravel())[1:]
    assert (areas == 4 * TILE**2).all()


def test_an_object_keeps_its_label_in_all_frames():
    video = GENERATORS['moving_sprites'](np.random.default_rng(3))
    assert video.image.shape[0] == FRAMES
    changes = (video.image[1:] != video.image[:-1]).any((1, 2, 3))
    assert changes.all()
    for label in np.unique(video.labels)[1:]:
        ys, xs = (
            np.array(
                [
                    np.nonzero(frame == label)[axis].mean() if (frame == label).any() else np.nan
                    for frame in video.labels
                ]
            )
            for axis in (0, 1)
        )
        steps = np.hypot(np.diff(ys), np.diff(xs))
        assert np.nanmax(steps) < 12


@pytest.mark.parametrize('shape', ['sphere', 'cube', 'cylinder'])
def test_rays_hit_a_solid_on_its_surface_with_unit_normals(shape):
    solid = Solid(shape, np.array([0.3, -0.2, 0.7]), 0.7, 0.4, np.ones(3), False)
    rng = np.random.default_rng(0)
    ray = solid.center + rng.uniform(-0.4, 0.4, (64, 3)) - CAMERA
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    distance, normal = intersect(solid, CAMERA, ray)
    assert np.isfinite(distance).all()
    assert np.allclose(np.linalg.norm(normal, axis=1), 1)
    assert ((normal * ray).sum(1) < 0).all()
    point = CAMERA + distance[:, None] * ray - solid.center
    radius = np.linalg.norm(point, axis=1)
    assert (radius <= 0.7 * 3**0.5 + 1e-6).all()
    assert (radius >= 0.7 - 1e-6).all() if shape != 'sphere' else np.allclose(radius, 0.7)


def test_a_nearer_object_hides_a_farther_one_and_casts_a_shadow():
    near = Solid('cube', np.array([0.0, -1.0, 0.7]), 0.7, 0.0, np.ones(3), False)
    far = near._replace(center=np.array([0.0, 0.6, 0.35]), size=0.35)
    light = np.array([-3.0, -3.0, 6.0])
    alone = (render([far], light, 48).labels == 1).sum()
    assert (render([near, far], light, 48).labels == 2).sum() < alone
    ground = render([], light, 48).image
    shadowed = render([near], light, 48)
    darker = shadowed.image.sum(-1, dtype=int) < 0.8 * ground.sum(-1, dtype=int)
    assert (darker & (shadowed.labels == 0)).sum() > 20


def test_scenes_are_read_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path)
    first = scenes('tetrominoes', 4, 0, progress=False)
    monkeypatch.setitem(GENERATORS, 'tetrominoes', None)
    assert np.array_equal(scenes('tetrominoes', 4, 0, progress=False).image, first.image)


def test_a_damaged_cache_is_generated_again(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path)
    first = scenes('tetrominoes', 4, 0, progress=False)
    (cached,) = tmp_path.iterdir()
    cached.write_bytes(cached.read_bytes()[:100])
    assert np.array_equal(scenes('tetrominoes', 4, 0, progress=False).image, first.image)


def test_trains_on_images_with_all_losses_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path / 'cache')
    names = 'orthogonality', 'mask_entropy', 'coverage', 'appearance', 'attention'
    weights = {**dict.fromkeys(names, 0.01), 'losses_from': 0.0, 'attention_until': 1.0}
    path = config_file(tmp_path / 'c.yaml', scenes=weights)
    train(read_config(path), tmp_path / 'run', progress=False)
    figures = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    terms = {'mse', 'orthogonality', 'entropy', 'coverage', 'appearance', 'attention'}
    assert terms | {'val_fg_ari'} <= set(figures)
    path = config_file(tmp_path / 'c.yaml', scenes=weights, training={'steps': 9})
    train(read_config(path), tmp_path / 'run', progress=False)
    assert json.loads((tmp_path / 'run' / 'metrics.json').read_text())['steps'] == 9


VARIANTS = (
    {'positions': 'relative', 'decoder': 'patches', 'starts': 3, 'eval_iterations': 4},
    {
        'masks': 'attention',
        'init': 'image',
        'positions': 'relative',
        'stride': 5,
        'colors': 'affine',
        'color_space': 'log',
        'mask_rounds': 2,
        'slot_penalty': 5.0,
    },
)


@pytest.fixture(scope='module', params=VARIANTS)
def exported(request, tmp_path_factory):
    """Return the folder of an exported model and the network that it was exported from."""
    folder = tmp_path_factory.mktemp('slots')
    config = export_tiny_slots(folder, **request.param)
    return folder / 'model', load_run(config, folder / 'run', SlotModel).eval()


def test_exported_graphs_compute_what_the_network_does(exported):
    folder, network = exported
    network.half().float()  # the artifact is in half precision
    model = load_slot_encoder(folder)
    x = np.random.default_rng(0).random((3, 3, 35, 35), np.float32)
    found = model.encode(x, seed=4)
    starts = [torch.from_numpy(model.start(3, seed=4 + i)) for i in range(network.config.starts)]
    with torch.inference_mode():
        pairs = [network.refine(torch.from_numpy(x), start) for start in starts]
        errors = torch.stack([network.error(torch.from_numpy(x), *pair) for pair in pairs])
        best = errors.argmin(0), torch.arange(3)
        slots, attention = (torch.stack(part)[best] for part in zip(*pairs, strict=True))
        later = network.attend(torch.from_numpy(x), slots)
        decoded = network.compose(slots, attention)
    assert found.slots == pytest.approx(slots.numpy(), abs=1e-3)
    assert found.attention == pytest.approx(attention.numpy(), abs=1e-3)
    assert model.track(x, found.slots).slots == pytest.approx(later[0].numpy(), abs=1e-3)
    for ours, theirs in zip(model.decode(found), decoded, strict=True):
        assert ours == pytest.approx(theirs.numpy(), abs=1e-3, rel=5e-3)
    assert np.array_equal(model.decode(found, x).masks, model.decode(found).masks) == (
        not network.config.mask_rounds
    )


def test_shapes_that_do_not_fit_are_named(exported):
    model = load_slot_encoder(exported[0])
    with pytest.raises(ModelError, match=r'takes images as float32 \[B, 3, 35, 35\]'):
        model.encode(np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(ModelError, match='slots of the previous frames'):
        model.track(np.zeros((1, 3, 35, 35), np.float32), np.zeros((1, 2, 16), np.float32))
    many = replace(model.artifact, config={**model.artifact.config, 'starts': 17})
    with pytest.raises(ModelError, match='starts is 17; it must be at most 16'):
        type(model)(many, 'cpu', 'fp32')
    config = {**model.artifact.config, 'mask_noise': 0}
    with pytest.raises(ModelError, match=r'config\.noise is 0; it must be'):
        type(model)(replace(model.artifact, config=config), 'cpu', 'fp32')
    with pytest.raises(ModelError, match='divides images: use a model of images'):
        load_codec(exported[0])
    with pytest.raises(ModelError, match='is not a slot model'):
        load_slot_encoder('tinyvae')


@pytest.fixture
def clip(tmp_path):
    """Return a video file of six gray frames."""
    path = str(tmp_path / 'clip.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 64))
    for frame in range(6):
        writer.write(np.full((64, 96, 3), 40 * frame, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize('name', ['sheet.png', 'slots.mp4', 'slots.avi'])
def test_command_draws_the_slots_of_a_video(exported, tmp_path, clip, capsys, name):
    out = tmp_path / name
    assert slots_command.main([clip, '--model', str(exported[0]), '-o', str(out)]) == 0
    assert '6 frames, 4 slots of tiny_slots' in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir() if path.suffix != '.avi'] == [
        path for path in [name] if not path.endswith('.avi')
    ]
    if name.endswith('.png'):
        assert cv2.imread(str(out)).shape[1] > 6 * 35
    else:
        capture = cv2.VideoCapture(str(out))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
        # The frame, its segmentation, four slots and the reconstruction.
        assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 7 * 35 * 4


@pytest.mark.parametrize(
    ('clip', 'out', 'message'),
    [
        ('missing.mp4', 'a.png', 'No such file'),
        ('c.yaml', 'a.png', 'not a video'),
        ('c.yaml', 'a.gif', 'use a name that ends in .png'),
    ],
)
def test_command_names_what_is_wrong(exported, tmp_path, capsys, clip, out, message):
    (tmp_path / 'c.yaml').write_text('a: 1')
    arguments = [str(tmp_path / clip), '--model', str(exported[0]), '-o', str(tmp_path / out)]
    assert slots_command.main(arguments) > 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_regions_are_the_boxes_of_the_segments():
    masks = np.full((3, 8, 8), 0.1, np.float32)
    masks[0] = 0.3
    masks[1, 2:5, 3:8] = 0.9
    masks[2, 0, 0] = 0.8
    regions = slot_regions(masks, segment(masks), min_area=0.02)
    assert [region.slot for region in regions] == [0, 1]
    assert regions[1].roi == Roi(3, 2, 5, 3)
    assert regions[1].area == 15 / 64
    assert regions[1].confidence == pytest.approx(0.9)


def test_batches_depend_only_on_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path)
    training = read_config(config_file(tmp_path / 'c.yaml')).training
    images = with_time(scenes('tetrominoes', 6, 0, progress=False)).image
    whole, rest = (SceneBatches(images, training, 1, start, 4) for start in (0, 2))
    assert (whole[2] == rest[0]).all()
    assert not (whole[0] == whole[1]).all()
    assert whole[0].shape == (4, 1, 3, 35, 35)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'scenes': {'set': 'cubes'}}, 'scenes.set is'),
        ({'scenes': {'frames': 4}}, 'frames is 4; it must be 1 for the images of tetrominoes'),
        ({'encoder': 'tinyvae'}, 'encoder cannot be combined with scenes'),
        ({'family': 'tinyvae', 'model': {}}, 'unknown|scenes is for family slots'),
    ],
)
def test_rejects_configurations_that_do_not_fit(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        read_config(config_file(tmp_path / 'c.yaml', **change))


def test_names_the_size_that_the_scenes_have(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path)
    config = read_config(config_file(tmp_path / 'c.yaml', model={'img_size': 32}))
    with pytest.raises(ConfigError, match='set it to 35'):
        train(config, tmp_path / 'run', progress=False)


def test_command_writes_a_recording_or_prints_how_to_install_rerun(
    exported, tmp_path, clip, capsys
):
    out = tmp_path / 'slots.rrd'
    code = slots_command.main([clip, '--model', str(exported[0]), '-o', str(out)])
    if importlib.util.find_spec('rerun') is None:
        assert (code, out.exists()) == (2, False)
        assert 'rerun-sdk is not installed' in capsys.readouterr().err
    else:
        assert code == 0
        assert out.read_bytes()[:3] == b'RRF'


def test_a_recording_has_the_regions_areas_and_latents_of_each_slot():
    masks = np.zeros((3, 8, 8), np.float32)
    masks[0], masks[0, :2, :4], masks[2, :2, :4] = 1, 0, 1
    image = np.full((3, 8, 8), 0.5, np.float32)
    frame = SlotFrame(image, np.ones((3, 4), np.float32), image, masks)
    items = {item.path: item for item in slot_items(frame)}
    regions = items[('frame', 'regions')]
    assert list(zip(regions.labels, regions.rois, strict=True)) == [
        ('slot 0', Roi(0, 0, 8, 8)),
        ('slot 2', Roi(0, 0, 4, 2)),
    ]
    assert len(set(regions.colors)) == 2
    areas = [items[('area', f'slot {slot}')].value for slot in range(3)]
    assert areas == [0.875, 0.0, 0.125]
    assert items[('latents',)].values is frame.slots
    part = items[('slots', 'slot 2')].image
    assert (part[:2, :4] == 128).all()
    assert not part[2:].any()
