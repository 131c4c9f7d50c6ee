# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of images, compared with formulas in numpy and with other libraries."""

import sys
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception.ros import images
from sage_perception.ros.images import (
    ENCODINGS,
    bgr_from_msg,
    image_to_msg,
    jpeg_to_msg,
    mono_from_msg,
    rgb_from_msg,
)

# encoding: (channels, bytes a channel)
LAYOUT = {
    **dict.fromkeys(('rgb8', 'bgr8', '8UC3'), (3, 1)),
    **dict.fromkeys(('rgba8', 'bgra8', '8UC4'), (4, 1)),
    **dict.fromkeys(('mono8', '8UC1'), (1, 1)),
    **dict.fromkeys(('mono16', '16UC1'), (1, 2)),
    **dict.fromkeys(('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv'), (2, 1)),
    **dict.fromkeys(('bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8'), (1, 1)),
}
YUV = ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')
BAYER = ('bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8')


def pixels(encoding, height=6, width=8, seed=0):
    """Return random pixels in the shape of an encoding."""
    channels, depth = LAYOUT[encoding]
    shape = (height, width) if channels == 1 else (height, width, channels)
    kind = np.uint16 if depth == 2 else np.uint8
    return np.random.default_rng(seed).integers(0, 256**depth, shape).astype(kind)


def message_of(image, encoding, padding=0, last_padded=True, big=False):
    """Return a message that is built byte by byte."""
    height, width = image.shape[:2]
    order = '>' if big else '<'
    rows = image.astype(image.dtype.newbyteorder(order)).reshape(height, -1)
    data = b''.join(row.tobytes() + b'\xa5' * padding for row in rows)
    message = Image(height=height, width=width, encoding=encoding, is_bigendian=int(big))
    message.step = len(rows[0].tobytes()) + padding
    message.data = array('B', data if last_padded or not padding else data[:-padding])
    return message


def luma(bgr):
    """Return gray by ITU-R BT.601."""
    return np.rint(bgr @ np.array([0.114, 0.587, 0.299]))


def yuv_to_bgr(y, u, v):
    """Return BGR by ITU-R BT.601 with limited range, in which values up to 16 are black."""
    c, d, e = (x.astype(float) for x in (y, u, v))
    c, d, e = 1.164 * (c - 16).clip(0), d - 128, e - 128
    blue, green, red = c + 2.018 * d, c - 0.391 * d - 0.813 * e, c + 1.596 * e
    return np.rint(np.stack([blue, green, red], axis=-1)).clip(0, 255)


def luma_chroma(raw, encoding):
    """Split 4:2:2 data `[H, W, 2]` into Y, U, V, each `[H, W]`."""
    flat = raw.reshape(len(raw), -1, 4)  # two pixels
    u_y_v_y = flat if encoding in ('yuv422', 'uyvy') else flat[..., [1, 0, 3, 2]]
    y = u_y_v_y[..., [1, 3]].reshape(len(raw), -1)
    return y, *(np.repeat(u_y_v_y[..., n], 2, axis=1) for n in (0, 2))


def demosaiced(raw, encoding):
    """Return a Bayer mosaic as BGR by bilinear interpolation; wrong at the border."""
    height, width = raw.shape
    letters = encoding[6:10]
    result = np.zeros((height, width, 3))
    for n, color in enumerate('bgr'):
        sites = np.zeros((height, width))
        for row in (0, 1):
            for column in (0, 1):
                sites[row::2, column::2] = letters[2 * row + column] == color
        kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], float)
        if color == 'g':
            kernel = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], float)
        total = cv2.filter2D(raw * sites, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        weight = cv2.filter2D(sites, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        result[..., n] = np.where(sites, raw, total / weight)
    return result


def expected_bgr(raw, encoding):
    """Return the image as float BGR."""
    if encoding in ('bgr8', '8UC3'):
        return raw
    if encoding == 'rgb8':
        return raw[..., ::-1]
    if encoding in ('bgra8', '8UC4'):
        return raw[..., :3]
    if encoding == 'rgba8':
        return raw[..., 2::-1]
    if encoding in YUV:
        return yuv_to_bgr(*luma_chroma(raw, encoding))
    if encoding in BAYER:
        return demosaiced(raw.astype(float), encoding)
    gray = np.rint(raw / 257) if raw.dtype == np.uint16 else raw
    return np.repeat(gray[..., None], 3, axis=-1)


def interior(image, encoding):
    """Return the part to compare: the border of a mosaic is extrapolated."""
    return image[1:-1, 1:-1] if encoding in BAYER else image


def tolerance(encoding):
    """Return the error of fixed-point arithmetic."""
    return 1 if encoding in YUV + BAYER else 0


def test_layout_lists_all_encodings():
    assert set(LAYOUT) == set(ENCODINGS)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_bgr_matches_formulas(encoding):
    raw = pixels(encoding, 16, 20)
    message = message_of(raw, encoding)
    bgr = bgr_from_msg(message)
    assert bgr.dtype == np.uint8
    assert bgr.shape == (16, 20, 3)
    expected = expected_bgr(raw, encoding)
    error = np.abs(interior(bgr.astype(float) - expected, encoding))
    assert error.max() <= tolerance(encoding)
    assert np.array_equal(rgb_from_msg(message), bgr[..., ::-1])


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_mono_is_luma_of_bgr(encoding):
    raw = pixels(encoding, 16, 20)
    gray = mono_from_msg(message_of(raw, encoding))
    assert gray.dtype == np.uint8
    assert gray.shape == (16, 20)
    if encoding in YUV:
        expected = luma_chroma(raw, encoding)[0]
    else:
        expected = luma(expected_bgr(raw, encoding))
    assert np.abs(interior(gray.astype(float) - expected, encoding)).max() <= 1


@pytest.mark.parametrize('encoding', BAYER)
def test_mosaic_of_one_color(encoding):
    colors = {'r': 200, 'g': 120, 'b': 30}
    tile = np.uint8([colors[letter] for letter in encoding[6:10]]).reshape(2, 2)
    bgr = bgr_from_msg(message_of(np.tile(tile, (4, 5)), encoding))
    assert (bgr == [30, 120, 200]).all()


@given(
    st.sampled_from(ENCODINGS),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_result_is_independent_of_padding_and_byte_order(
    encoding, height, width, padding, last_padded, big, seed
):
    raw = pixels(encoding, height, 2 * width if encoding in YUV else width, seed)
    plain = message_of(raw, encoding)
    odd = message_of(raw, encoding, padding, last_padded, big)
    for convert in (bgr_from_msg, rgb_from_msg, mono_from_msg):
        assert np.array_equal(convert(odd), convert(plain))


@pytest.mark.parametrize('padding', [1, 2, 3, 5])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_odd_step_does_not_skew(encoding, padding):
    raw = pixels(encoding)
    odd = message_of(raw, encoding, padding)
    assert np.array_equal(bgr_from_msg(odd), bgr_from_msg(message_of(raw, encoding)))


@given(st.sampled_from(ENCODINGS), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_round_trip(encoding, height, width, seed):
    raw = pixels(encoding, height, 2 * width if encoding in YUV else width, seed)
    header = Header(frame_id='camera')
    header.stamp.sec = 7
    message = image_to_msg(raw, encoding, header)
    assert message == message_with_header(message_of(raw, encoding), header)
    if encoding in ('bgr8', '8UC3'):
        assert np.array_equal(bgr_from_msg(message), raw)
    if encoding == 'rgb8':
        assert np.array_equal(rgb_from_msg(message), raw)
    if encoding in ('mono8', '8UC1'):
        assert np.array_equal(mono_from_msg(message), raw)


def message_with_header(message, header):
    message.header = header
    return message


@pytest.mark.parametrize(
    'view',
    [lambda p: p[::-1], lambda p: p[:, ::2], lambda p: p[..., ::-1], lambda p: p[2:5, 1:4]],
)
def test_converts_non_contiguous_views(view):
    image = view(pixels('bgr8', 8, 8))
    assert not image.flags.c_contiguous
    assert np.array_equal(bgr_from_msg(image_to_msg(image, 'bgr8', Header())), image)


@pytest.mark.parametrize(
    ('encoding', 'convert'), [('bgr8', bgr_from_msg), ('mono8', mono_from_msg)]
)
def test_matching_encoding_is_not_copied(encoding, convert):
    message = message_of(pixels(encoding), encoding)
    image = convert(message)
    message.data[0] ^= 0xFF
    assert image.flat[0] == message.data[0]


def test_sixteen_bits_are_scaled_to_eight():
    raw = np.uint16([[0, 128, 129, 257, 32768, 65535]])
    gray = mono_from_msg(message_of(raw, 'mono16'))
    assert gray.tolist() == [[0, 0, 1, 1, 128, 255]]
    assert mono_from_msg(message_of(raw, 'mono16', big=True)).tolist() == gray.tolist()


def malformed(**fields):
    message = message_of(pixels('rgb8', 4, 6), 'rgb8')
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ('message', 'reason'),
    [
        (malformed(encoding='32FC1'), "encoding '32FC1' is not one of bgr8, .*image_proc"),
        (malformed(encoding=''), "encoding ''"),
        (malformed(encoding='jpeg'), "encoding 'jpeg'"),
        (malformed(width=0), 'the image has 0 x 4 pixels'),
        (malformed(height=0), 'the image has 6 x 0 pixels'),
        (malformed(data=array('B')), 'data has 0 bytes, but 6 x 4 pixels in rgb8 .* need 72'),
        (malformed(data=array('B', bytes(71))), '71 bytes'),
        (malformed(height=5), '72 bytes, .* need 90'),
        (malformed(step=17), 'step 17 is less than the 18 bytes of 6 pixels'),
        (malformed(step=0), 'step 0'),
        (malformed(step=2**32 - 1), '72 bytes'),
        (malformed(width=2**32 - 1, height=2**32 - 1), 'step 18 is less'),
        (malformed(encoding='yuv422', width=5), 'width 5 is odd'),
        (Image(), 'encoding'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
@pytest.mark.parametrize('convert', [bgr_from_msg, rgb_from_msg, mono_from_msg])
def test_malformed_message_is_a_value_error_with_reason(message, reason, convert):
    with pytest.raises(ValueError, match=reason) as error:
        convert(message)
    assert '\n' not in str(error.value)


@given(
    st.sampled_from([*ENCODINGS, 'jpeg']),
    *[st.integers(0, 12)] * 2,
    st.integers(0, 40),
    st.integers(0, 200),
    st.booleans(),
)
def test_arbitrary_messages_convert_or_raise_value_error(
    encoding, height, width, step, length, big
):
    message = Image(encoding=encoding, height=height, width=width, step=step)
    message.is_bigendian = int(big)
    message.data = array('B', bytes(length))
    for convert in (bgr_from_msg, rgb_from_msg, mono_from_msg):
        try:
            image = convert(message)
        except ValueError:
            continue
        assert image.shape[:2] == (height, width)
        assert image.dtype == np.uint8
        assert not image.any() or encoding in YUV


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
        (np.zeros((4, 4, 3), np.uint8), 'rgb16', "encoding 'rgb16' is not one of"),
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
    assert len(jpeg_to_msg(image, Header(), 20).data) < len(message.data)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_agrees_with_rosbags_image(encoding):
    """It supports no padding, and truncates where OpenCV rounds."""
    library = pytest.importorskip('rosbags.image')
    message = message_of(pixels(encoding, 16, 20), encoding)
    if encoding in ('8UC4', '8UC1', '16UC1'):
        # It does not convert generic encodings.
        theirs = library.message_to_cvimage(message)
        assert np.array_equal(theirs, pixels(encoding, 16, 20))
        return
    for wanted, convert in (('bgr8', bgr_from_msg), ('mono8', mono_from_msg)):
        if (encoding, wanted) == ('8UC3', 'mono8'):
            continue
        theirs = library.message_to_cvimage(message, wanted)
        difference = convert(message).astype(int) - theirs
        assert difference.min() >= 0
        assert difference.max() <= (1 if encoding == 'mono16' else 0)


def test_agrees_with_cv_bridge(monkeypatch):
    """The conversions use cv_bridge where it is installed."""
    pytest.importorskip('cv_bridge', reason='cv_bridge is not installed (a ROS 2 from apt has it)')
    assert images.CvBridge is not None
    for encoding in ENCODINGS:
        message = message_of(pixels(encoding, 16, 20), encoding)
        theirs = bgr_from_msg(message), mono_from_msg(message)
        with monkeypatch.context() as without:
            without.setattr(images, 'CvBridge', None)
            ours = bgr_from_msg(message), mono_from_msg(message)
        assert np.array_equal(ours[0], theirs[0]), encoding
        assert np.array_equal(ours[1], theirs[1]), encoding


@pytest.mark.skipif(sys.byteorder != 'little', reason='the flag is the other way round')
def test_the_bytes_on_the_wire_are_declared_little_endian():
    message = image_to_msg(np.uint16([[1, 256]]), 'mono16', Header())
    assert (message.is_bigendian, message.data.tolist()) == (0, [1, 0, 0, 1])
