# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training crops from bags: regions that attention selects in images, and recorded crops."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sage_perception.evaluation import evaluate
from sage_perception.training.config import ConfigError, DataConfig
from sage_perception.training.data import bags
from sage_perception.training.data.crops import Clips, CropConfig
from sage_perception.training.data.mixture import Mixture, mixture

MESSAGES = Path(__file__).parents[2] / 'sage_msgs' / 'msg'
START = 1_700_000_000 * 10**9  # of the recording, nanoseconds
STEP = 40_000_000
GREEN = (40, 200, 90)  # RGB of the moving disc


@pytest.fixture(scope='module')
def store():
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in ('Signature', 'Crop', 'CropArray'):
        text = (MESSAGES / f'{name}.msg').read_text()
        store.register(get_types_from_msg(text, f'sage_msgs/msg/{name}'))
    return store


class Recorder:
    """Makes messages and writes them to a bag."""

    def __init__(self, writer, store):
        self.writer, self.store, self.connections = writer, store, {}

    def crops(self, index, crops):
        unsigned = self.make('sage_msgs/msg/Signature', '', 0, np.zeros(0, np.uint8))
        header = self.header(index)
        return self.make('sage_msgs/msg/CropArray', header, 160, 160, crops, 0, unsigned)

    def make(self, name, *values):
        return self.store.types[name](*values)

    def header(self, index):
        stamp_ns = START + index * STEP
        stamp = self.make('builtin_interfaces/msg/Time', *divmod(stamp_ns, 10**9))
        return self.make('std_msgs/msg/Header', stamp, 'cam')

    def image(self, pixels, encoding, index):
        data = np.ascontiguousarray(pixels)
        step = data.strides[0]
        flat = data.view(np.uint8).ravel()
        shape = pixels.shape[:2]
        name = 'sensor_msgs/msg/Image'
        return self.make(name, self.header(index), *shape, encoding, 0, step, flat)

    def write(self, topic, message, index):
        name = message.__msgtype__
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, name, typestore=self.store)
        data = self.store.serialize_cdr(message, name)
        self.writer.write(self.connections[topic], START + index * STEP, data)


def frame(index):
    """Return a textured scene that a green disc crosses, uint8 RGB."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(60, 120, (20, 20, 3), np.uint8), (160, 160))
    return cv2.circle(image, (5 + 3 * index, 80), 16, GREEN, -1)


@pytest.fixture(scope='module')
def recorded(tmp_path_factory, store):
    """Return a folder with a bag of images, JPEG images, depth images and crops."""
    root = tmp_path_factory.mktemp('bags')
    with Writer(root / 'drive', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        bag = Recorder(writer, store)
        for index in range(50):
            rgb = frame(index)
            bag.write('/cam0/image_raw', bag.image(rgb, 'rgb8', index), index)
            bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()
            compressed = bag.make(
                'sensor_msgs/msg/CompressedImage', bag.header(index), 'bgr8; jpeg', jpeg
            )
            bag.write('/cam1/image_raw/compressed', compressed, index)
            depth = np.full((160, 160), 1000, np.uint16)
            bag.write('/cam0/depth', bag.image(depth, '16UC1', index), index)
            roi = bag.make('sensor_msgs/msg/RegionOfInterest', 0, 0, 64, 64, False)
            crops = [
                bag.make(
                    'sage_msgs/msg/Crop',
                    *(roi, 1.0, 1, 7),
                    bag.image(np.full((64, 64, 3), (index, level, 9), np.uint8), 'rgb8', index),
                )
                for level in (100, 200)
            ]
            array = bag.crops(index, crops)
            for topic in ('/cam0/crops', '/cam0/residuals', '/cam1/deltas'):
                bag.write(topic, array, index)
    return root


def test_finds_topics_with_images_and_crops_but_not_depth_or_residuals(recorded):
    assert bags.find_bags(recorded) == [recorded / 'drive']
    assert bags.topics_of(recorded / 'drive') == (
        ['/cam0/image_raw', '/cam1/image_raw/compressed'],
        ['/cam0/crops'],
    )


def test_evaluation_accepts_a_bag_folder_and_its_file(tmp_path, store):
    with Writer(tmp_path / 'sent', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        bag = Recorder(writer, store)
        roi = bag.make('sensor_msgs/msg/RegionOfInterest', 0, 0, 64, 64, False)
        image = bag.image(np.full((64, 64, 3), 90, np.uint8), 'rgb8', 0)
        crop = bag.make('sage_msgs/msg/Crop', roi, 1.0, 1, 7, image)
        array = bag.crops(0, [crop, crop])
        bag.write('/cam0/crops', array, 0)
    for path in (tmp_path / 'sent', tmp_path / 'sent' / 'sent.mcap'):
        assert len(evaluate.sources_at(path)['motion']) == 2


def test_images_have_the_recorded_pixels_and_stamps(recorded):
    for topic, most in (('/cam0/image_raw', 0), ('/cam1/image_raw/compressed', 12)):
        seen = list(bags.images(recorded / 'drive', topic))
        assert len(seen) == 50
        for index in (0, 30):
            image, stamp_s = seen[index]
            assert stamp_s == pytest.approx((START + index * STEP) * 1e-9)
            bgr = cv2.cvtColor(frame(index), cv2.COLOR_RGB2BGR)
            assert np.abs(image.astype(int) - bgr).mean() <= most


def test_every_image_and_crop_topic_is_a_clip(recorded):
    clips = Clips(bags.find_bags(recorded))
    rgb, jpeg, ready = clips.clips
    for frames in (rgb, jpeg):
        clips.clips = [frames]
        crops = Mixture((clips,), (1,)).sample(40, seed=0).astype(int)
        disc = (np.abs(crops - GREEN).max(axis=3) < 25).mean(axis=(1, 2))
        assert (disc > 0.03).mean() > 0.8  # the disc is the moving object
    sent = [image.levels[0] for image, _ in ready]
    assert {(*crop[0, 0],) for crop in sent} == {
        (index, level, 9) for index in range(50) for level in (100, 200)
    }
    clips.clips = [ready]
    crop = clips.draw(np.random.default_rng(0), CropConfig(loose=True))
    assert crop.shape == (64, 64, 3)
    assert crop[..., 2].min() == crop[..., 2].max() == 9


def test_bags_are_selected_like_clips(recorded, tmp_path):
    cv2.imwrite(str(tmp_path / 'still.png'), frame(0))
    shutil.copytree(recorded / 'drive', tmp_path / 'other')
    shutil.copy(recorded / 'drive' / 'drive.mcap', tmp_path / 'single.mcap')
    data = DataConfig(str(tmp_path), held_out=('other', 'still.png'))
    assert [source.files for source in mixture(data, 64).sources] == [[tmp_path / 'single.mcap']]
    held_out = mixture(data, 64, held_out=True)
    assert [source.files for source in held_out.sources] == [
        [tmp_path / 'still.png'],
        [tmp_path / 'other'],
    ]
    assert held_out.sample(5, seed=0).shape == (5, 64, 64, 3)


def test_rejects_a_truncated_bag_with_the_fix(recorded, tmp_path):
    whole = (recorded / 'drive' / 'drive.mcap').read_bytes()
    (tmp_path / 'cut.mcap').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r'cut\.mcap was not closed .*sage record --repair'):
        mixture(DataConfig(str(tmp_path)), 64)
