# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of image messages; test/core/test_pixel_encodings.py has the pixel formats."""

import sys
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception.ros import images
from sage_perception.ros.images import (
    bgr_from_msg,
    image_to_msg,
    jpeg_to_msg,
    mono_from_msg,
    rgb_from_msg,
)
from sage_perception.vision.encodings import PACKED
from sage_perception.vision.image_messages import to_bgr
from sage_perception.vision.intensity_range import IntensityRange


def pixels(encoding, height=6, width=8, seed=0):
    """Return random pixels in the shape of an encoding."""
    layout = PACKED[encoding]
    shape = (height, width, layout.channels)[: 2 if layout.channels == 1 else 3]
    values = np.random.default_rng(seed).integers(0, 256, shape)
    return (values // 2 if layout.dtype == 'i1' else values).astype(layout.dtype)


@given(st.sampled_from(list(PACKED)), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_round_trip(encoding, height, width, seed):
    raw = pixels(encoding, height, 2 * width if PACKED[encoding].paired else width, seed)
    header = Header(frame_id='camera')
    header.stamp.sec = 7
    message = image_to_msg(raw, encoding, header)
    assert (message.header, message.encoding) == (header, encoding)
    assert (message.height, message.width) == raw.shape[:2]
    assert message.step == len(message.data) / message.height
    assert message.data.tobytes() == raw.tobytes()
    assert np.array_equal(rgb_from_msg(message), bgr_from_msg(message)[..., ::-1])
    if encoding in ('bgr8', '8UC3'):
        assert np.array_equal(bgr_from_msg(message), raw)
    if encoding == 'rgb8':
        assert np.array_equal(rgb_from_msg(message), raw)
    if encoding in ('mono8', '8UC1'):
        assert np.array_equal(mono_from_msg(message), raw)


@pytest.mark.parametrize(
    'view',
    [lambda p: p[::-1], lambda p: p[:, ::2], lambda p: p[..., ::-1], lambda p: p[2:5, 1:4]],
)
def test_converts_non_contiguous_views(view):
    image = view(pixels('bgr8', 8, 8))
    assert not image.flags.c_contiguous
    assert np.array_equal(bgr_from_msg(image_to_msg(image, 'bgr8', Header())), image)


@pytest.mark.parametrize(
    ('encoding', 'convert'),
    [('bgr8', bgr_from_msg), ('rgb8', rgb_from_msg), ('mono8', mono_from_msg)],
)
def test_matching_encoding_is_not_copied(encoding, convert):
    message = image_to_msg(pixels(encoding), encoding, Header())
    image = convert(message)
    message.data[0] ^= 0xFF
    assert image.flat[0] == message.data[0]


def test_sixteen_bits_are_scaled_to_eight():
    raw = np.uint16([[0, 128, 129, 257, 32768, 65534]])
    gray = mono_from_msg(image_to_msg(raw, 'mono16', Header()))
    assert gray.tolist() == [[0, 0, 1, 1, 128, 255]]
    big = Image(height=1, width=6, step=12, encoding='mono16', is_bigendian=1)
    big.data = array('B', raw.astype('>u2').tobytes())
    assert mono_from_msg(big).tolist() == gray.tolist()


@pytest.mark.parametrize('convert', [bgr_from_msg, rgb_from_msg])
def test_images_of_a_stream_have_one_range(convert):
    intensity = IntensityRange()
    bright, dim = (np.full((8, 8), value, np.uint16) for value in (4000, 400))
    bright[0, :4], dim[0, :4] = 40, 4
    for raw, level in ((bright, 249), (dim, 25)):
        image = convert(image_to_msg(raw, 'mono16', Header()), intensity)
        assert (image[1:] == level).all()


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'encoding': '32FC2'}, 'only 1, 3 or 4 channels'),
        ({'data': array('B', bytes(71))}, '71 bytes'),
        ({'step': 0}, 'step 0'),
        ({'width': 0}, '0 x 4 pixels'),
    ],
)
@pytest.mark.parametrize('convert', [bgr_from_msg, rgb_from_msg, mono_from_msg])
def test_malformed_message_is_a_value_error_with_reason(fields, reason, convert):
    message = image_to_msg(pixels('rgb8', 4, 6), 'rgb8', Header())
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=reason):
        convert(message)
    with pytest.raises(ValueError, match="encoding ''"):
        convert(Image())


@pytest.mark.parametrize(
    ('image', 'encoding', 'reason'),
    [
        (
            np.zeros((4, 4, 3), np.float32),
            'bgr8',
            r'float32 array of shape \[4, 4, 3\] is not an image in bgr8',
        ),
        (np.zeros((4, 4), np.uint8), 'bgr8', 'not an image in bgr8'),
        (np.zeros((4, 4, 4), np.uint8), 'rgb8', 'not an image in rgb8'),
        (np.zeros((4, 4), np.uint8), 'mono16', 'not an image in mono16'),
        (np.zeros((4, 4), '>u2'), 'mono16', 'not an image in mono16'),
        (np.zeros(4, np.uint8), 'mono8', 'not an image in mono8'),
        (np.zeros((1, 4, 4, 3), np.uint8), 'bgr8', 'not an image in bgr8'),
        (np.zeros((0, 4, 3), np.uint8), 'bgr8', 'not an image in bgr8'),
        (np.zeros((4, 3, 2), np.uint8), 'yuv422', 'not an image in yuv422'),
        (np.zeros((4, 4, 3), np.uint8), 'rgb16', 'not an image in rgb16'),
        (np.zeros((6, 4), np.uint8), 'nv12', "encoding 'nv12' is not one of"),
    ],
)
def test_array_that_does_not_fit_encoding_is_a_value_error(image, encoding, reason):
    with pytest.raises(ValueError, match=reason):
        image_to_msg(image, encoding, Header())


def test_jpeg_decodes_to_the_image():
    y, x = np.mgrid[0:48, 0:64]
    image = np.stack([3 * x, 2 * y, x + y], axis=-1).astype(np.uint8)
    message = jpeg_to_msg(image, Header(frame_id='camera'), 95)
    assert message.header.frame_id == 'camera'
    assert message.format == 'bgr8; jpeg compressed bgr8'
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - image).mean() < 2
    assert np.array_equal(bgr_from_msg(message), decoded)
    assert np.array_equal(rgb_from_msg(message), decoded[..., ::-1])
    assert len(jpeg_to_msg(image, Header(), 20).data) < len(message.data)


@pytest.fixture
def bridge(monkeypatch):
    """A cv_bridge that converts with OpenCV and counts its images."""

    class CvBridge:
        images = 0

        def imgmsg_to_cv2(self, message, desired_encoding):
            CvBridge.images += 1
            channels = message.step // message.width
            image = np.frombuffer(message.data, np.uint8).reshape(message.height, -1, channels)
            return np.ascontiguousarray(image[..., ::-1])

    monkeypatch.setitem(sys.modules, 'cv_bridge', SimpleNamespace(CvBridge=CvBridge))
    images.cv_bridge.cache_clear()
    yield CvBridge
    images.cv_bridge.cache_clear()


def test_cv_bridge_converts_where_it_is_installed(bridge):
    message = image_to_msg(pixels('rgb8', 16, 20), 'rgb8', Header())
    image = bgr_from_msg(message)
    assert bridge.images == 2  # the first tests whether it can be loaded
    assert np.array_equal(image, to_bgr(message))


@pytest.mark.parametrize('change', ['padding', 'encoding', 'last row'])
def test_cv_bridge_is_not_used_for_what_it_misreads(change, bridge):
    message = image_to_msg(pixels('rgb8', 16, 20), 'rgb8', Header())
    if change == 'encoding':
        message = image_to_msg(pixels('mono16', 16, 20), 'mono16', Header())
    if change == 'padding':
        rows = np.frombuffer(message.data, np.uint8).reshape(16, 60)
        message.data = array('B', np.pad(rows, ((0, 0), (0, 4))).tobytes())
        message.step = 64
    if change == 'last row':
        message.data.extend([0] * 7)
    assert np.array_equal(bgr_from_msg(message), to_bgr(message))
    assert bridge.images <= 1


def test_malformed_image_does_not_reach_cv_bridge(bridge):
    message = image_to_msg(pixels('rgb8', 16, 20), 'rgb8', Header())
    message.height = 400
    with pytest.raises(ValueError, match='data has'):
        bgr_from_msg(message)


def test_cv_bridge_of_another_numpy_is_replaced_by_opencv(bridge, monkeypatch):
    def fail(*args, **kwargs):
        raise ImportError('numpy.core.multiarray failed to import')

    monkeypatch.setattr(bridge, 'imgmsg_to_cv2', fail)
    message = image_to_msg(pixels('rgb8', 16, 20), 'rgb8', Header())
    assert np.array_equal(bgr_from_msg(message), to_bgr(message))


@pytest.mark.parametrize('encoding', images.BRIDGED)
def test_agrees_with_cv_bridge(encoding):
    bridge = pytest.importorskip('cv_bridge', reason='a ROS 2 from apt has it').CvBridge()
    message = image_to_msg(pixels(encoding, 16, 20), encoding, Header())
    assert np.array_equal(to_bgr(message), bridge.imgmsg_to_cv2(message, 'bgr8'))


@pytest.mark.skipif(sys.byteorder != 'little', reason='the flag is the other way round')
def test_the_bytes_on_the_wire_are_declared_little_endian():
    message = image_to_msg(np.uint16([[1, 256]]), 'mono16', Header())
    assert (message.is_bigendian, message.data.tolist()) == (0, [1, 0, 0, 1])
