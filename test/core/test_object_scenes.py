# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generated scenes of objects, and the training of a slot model on them."""

import json

import numpy as np
import pytest
import yaml

from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.objects import pool
from sage_perception.training.data.objects.moving import FRAMES
from sage_perception.training.data.objects.pool import GENERATORS, scenes
from sage_perception.training.data.objects.rendered import CAMERA, Solid, intersect, render
from sage_perception.training.data.objects.tetrominoes import ORIENTATIONS, TILE, tetrominoes
from sage_perception.training.tasks.slots.data import SceneBatches, with_time
from sage_perception.training.train import train

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


def config_file(path, **changes):
    tree = {
        'name': 'tiny_slots',
        'version': '1',
        'family': 'slots',
        'model': {
            'img_size': 35,
            'slots': 4,
            'slot_dim': 16,
            'encoder_channels': [8, 8, 8, 16],
            'decoder_channels': 8,
            'decoder_grid': 9,
        },
        'scenes': {'set': 'tetrominoes', 'count': 24, 'held_out': 8},
        'training': {'steps': 6, 'epoch': 3, 'batch': 4, 'warmup': 2},
    }
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(tree))
    return path


def test_trains_on_images_with_all_losses_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, 'CACHE', tmp_path / 'cache')
    weights = dict.fromkeys(('orthogonality', 'mask_entropy', 'coverage', 'appearance'), 0.01)
    path = config_file(tmp_path / 'c.yaml', scenes={**weights, 'losses_from': 0.0})
    train(read_config(path), tmp_path / 'run', progress=False)
    figures = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert {'mse', 'orthogonality', 'entropy', 'coverage', 'appearance', 'val_fg_ari'} <= set(
        figures
    )
    path = config_file(
        tmp_path / 'c.yaml', scenes={**weights, 'losses_from': 0.0}, training={'steps': 9}
    )
    train(read_config(path), tmp_path / 'run', progress=False)
    assert json.loads((tmp_path / 'run' / 'metrics.json').read_text())['steps'] == 9


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
