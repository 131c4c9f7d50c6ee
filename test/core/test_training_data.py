# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training data: files, images, crops of clips, augmentation and the crop stream."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import scene, write_scenes

from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data.crops import Clips, CropConfig, Stills
from sage_perception.training.data.files import (
    file_filter,
    files_by_kind,
    find_files,
    matches,
    training_files,
)
from sage_perception.training.data.images import ImagePyramid, read_rgb, to_model
from sage_perception.training.data.mixture import Mixture, mixture
from sage_perception.training.data.stream import CropStream, augment


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder with six images and a clip of a disc that crosses the first of them."""
    return write_scenes(tmp_path_factory.mktemp('data'), 6)


def test_patterns_match_from_the_right():
    path = Path('a/b/opencv-doc-vtest.avi')
    assert matches(path, ['*vtest.avi'])
    assert matches(path, ['b/*.avi'])
    assert not matches(path, ['vtest.avi', 'a/*.avi'])


def truncated_jpeg(whole):
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ('content', 'message'),
    [(truncated_jpeg, 'damaged'), (None, 'not an image')],
    ids=['truncated', 'text'],
)
def test_rejects_files_that_are_not_complete_images(tmp_path, content, message):
    whole = cv2.imencode('.jpg', scene(0, 128))[1].tobytes()
    path = tmp_path / 'broken.jpg'
    path.write_bytes(content(whole) if content else b'no image')
    with pytest.raises(ValueError, match=message):
        read_rgb(path)
    with pytest.raises(ConfigError, match=r'broken\.jpg'):
        mixture(DataConfig(str(tmp_path)), 64)
    path.write_bytes(whole)
    assert mixture(DataConfig(str(tmp_path), stills_share=1), 64).sample(1, 0).shape[0] == 1


def test_stream_items_depend_only_on_their_number(data):
    mixed = Mixture((Stills(find_files(data, {'.png'})),), (1.0,))
    whole = CropStream(mixed, 3, seed=7, start=0, count=20)
    later = CropStream(mixed, 3, seed=7, start=15, count=5)
    assert np.array_equal(whole[17], later[2])
    assert not np.array_equal(whole[17], whole[16])
    assert not np.array_equal(whole[17], CropStream(mixed, 3, 8, 0, 20)[17])
    assert whole[0].shape == (3, 64, 64)
    assert whole[0].dtype == np.float32
    assert CropStream(mixed, 1, 7, 0, 20)[0].shape == (1, 64, 64)


def test_clips_are_cut_at_moving_objects(data):
    crops = Mixture((Clips([data / 'clip.avi']),), (1.0,)).sample(40, seed=0)
    assert crops.shape == (40, 64, 64, 3)
    white = (crops.min(axis=3) > 225).mean(axis=(1, 2))
    assert (white > 0.03).mean() > 0.8  # the white disc is the moving object


def test_regions_grow_where_upscaling_is_excluded(data):
    clips, rng = Clips([data / 'clip.avi']), np.random.default_rng(0)
    narrow, wide = CropConfig(128, smallest=48), CropConfig(128, smallest=128)
    disc = [(clips.draw(rng, config) > 250).mean() for config in (narrow, wide)]
    assert disc[1] < 0.7 * disc[0]


def test_cutting_keeps_scale_and_color():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3)).copy()
    ramp[..., 2] = 7
    image = ImagePyramid(ramp)
    for side in (32, 64, 128, 256):
        crop = image.cut(0, 0, side, 64)
        assert crop.shape == (64, 64, 3)
        assert (crop[..., 2] == 7).all()
        expected = (np.arange(64) + 0.5) * side / 64 - 0.5
        np.testing.assert_allclose(crop[0, 1:-1, 0], expected[1:-1], atol=1.01)
    assert np.array_equal(image.cut(10, 0, 64, 64)[..., 0], ramp[:64, 10:74, 0])
    assert image.cut(250, 250, 64, 64).shape == (64, 64, 3)  # beyond the border: moved inside


def test_augmentation_varies_and_keeps_shape_and_type():
    rng = np.random.default_rng(0)
    crop = cv2.cvtColor(scene(1, 64), cv2.COLOR_BGR2RGB)
    variants = [augment(crop, rng) for _ in range(20)]
    assert all(v.shape == crop.shape and v.dtype == np.uint8 for v in variants)
    assert len({v.tobytes() for v in variants}) == 20
    assert np.abs(np.mean(variants, axis=(0, 1, 2)) - crop.mean((0, 1))).max() < 25


def test_one_channel_is_luma():
    colors = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
    np.testing.assert_allclose(to_model(colors, 1)[0, 0], [0.299, 0.587, 0.114, 1], atol=1e-6)


def test_every_tenth_file_of_each_kind_is_held_out_by_default(tmp_path):
    images = [tmp_path / f'{number:02}.png' for number in range(25)]
    clips = [tmp_path / f'{name}.avi' for name in 'ab']
    for path in (*images, *clips, tmp_path / 'a_single.txt'):
        path.touch()
    data = DataConfig(str(tmp_path))
    held_out = {'stills': [images[9], images[19]], 'motion': [clips[1]]}
    assert files_by_kind(tmp_path, file_filter(data, held_out=True)) == held_out
    trained_on = files_by_kind(tmp_path, file_filter(data, held_out=False))
    assert trained_on == {
        'stills': [path for path in images if path not in held_out['stills']],
        'motion': clips[:1],
    }
    excluding = DataConfig(str(tmp_path), exclude=('b.avi', '0*.png'))
    assert training_files(excluding, {'.png'}, held_out=True) == [images[19]]
    assert training_files(excluding, {'.avi'}, held_out=True) == []


def test_a_single_file_is_not_held_out(tmp_path):
    cv2.imwrite(str(tmp_path / 'one.png'), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ConfigError, match='add a second file of its kind or set'):
        mixture(DataConfig(str(tmp_path)), 32, held_out=True)
