# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding of pixels, compared with formulas in numpy and with other libraries."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.encodings import ENCODINGS, bgr_image, gray_image

COLORS = ('rgb', 'bgr', 'rgba', 'bgra')
PATTERNS = ('rggb', 'bggr', 'gbrg', 'grbg')
YUV = ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')
BAYER = tuple(f'bayer_{pattern}{bits}' for pattern in PATTERNS for bits in (8, 16))
PLANAR = ('nv12', 'nv21', 'i420', 'yv12', 'nv24')
OPENCV = {
    f'{name}C{channels}': (channels, dtype)
    for name, dtype in {
        **{'8U': 'u1', '8S': 'i1', '16U': 'u2', '16S': 'i2', '32U': 'u4', '32S': 'i4'},
        **{'16F': 'f2', '32F': 'f4', '64F': 'f8'},
    }.items()
    for channels in (1, 3, 4)
}
# encoding: (channels, dtype)
LAYOUT = {
    **{f'{color}{bits}': (len(color), f'u{bits // 8}') for color in COLORS for bits in (8, 16)},
    **{f'mono{bits}': (1, f'u{bits // 8}') for bits in (8, 16)},
    **{name: (1, 'u2' if name.endswith('16') else 'u1') for name in BAYER},
    **dict.fromkeys(YUV, (2, 'u1')),
    **OPENCV,
}
UNSIGNED = [name for name, (_, dtype) in LAYOUT.items() if dtype in ('u1', 'u2')]


def pixels(encoding, height=6, width=8, seed=0):
    """Return random pixels over the whole range of an encoding, in its shape."""
    channels, dtype = LAYOUT[encoding]
    rng = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if np.dtype(dtype).kind == 'f':
        return rng.uniform(-2, 5, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def arguments(image, encoding, padding=0, last_padded=True, big=False):
    """Return the arguments of `bgr_image`, built byte by byte."""
    height, width = image.shape[:2]
    rows = image.astype(image.dtype.newbyteorder('>' if big else '<')).reshape(height, -1)
    data = b''.join(row.tobytes() + b'\xa5' * padding for row in rows)
    step = len(rows[0].tobytes()) + padding
    return (
        encoding,
        height,
        width,
        step,
        big,
        data if last_padded or not padding else data[:-padding],
    )


def planar_arguments(encoding, y, u, v, padding=0):
    """Return the arguments of `bgr_image` for planes of `[H, W]`, chroma of a smaller size."""
    height, width = y.shape
    planes = {
        'nv12': [y, np.dstack([u, v])],
        'nv21': [y, np.dstack([v, u])],
        'nv24': [y, np.dstack([u, v])],
        'i420': [y, u, v],
        'yv12': [y, v, u],
    }[encoding]
    step = width + padding
    data = b''
    for plane in planes:
        flat = plane.reshape(len(plane), -1)
        row_step = step * flat.shape[1] // width
        data += b''.join(row.tobytes().ljust(row_step, b'\xa5') for row in flat)
    return encoding, height, width, step, False, data


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
    levels = np.rint(raw / 257) if raw.dtype == np.uint16 else raw.astype(float)
    if encoding in YUV:
        return yuv_to_bgr(*luma_chroma(raw, encoding))
    if encoding in BAYER:
        return demosaiced(levels, encoding)
    if raw.ndim == 2:
        return np.repeat(levels[..., None], 3, axis=-1)
    return levels[..., 2::-1] if encoding.startswith('rgb') else levels[..., :3]


def interior(image, encoding):
    """Return the part to compare: the border of a mosaic is extrapolated."""
    return image[1:-1, 1:-1] if encoding in BAYER else image


def test_layout_lists_all_encodings():
    assert {*LAYOUT, *PLANAR} == set(ENCODINGS)


@pytest.mark.parametrize('encoding', UNSIGNED)
def test_bgr_matches_formulas(encoding):
    raw = pixels(encoding, 16, 20)
    bgr = bgr_image(*arguments(raw, encoding))
    assert bgr.dtype == np.uint8
    assert bgr.shape == (16, 20, 3)
    error = np.abs(interior(bgr - expected_bgr(raw, encoding), encoding))
    assert error.max() <= (1 if encoding in YUV + BAYER else 0)


@pytest.mark.parametrize('encoding', UNSIGNED)
def test_gray_is_luma_of_bgr(encoding):
    raw = pixels(encoding, 16, 20)
    gray = gray_image(*arguments(raw, encoding))
    assert gray.dtype == np.uint8
    assert gray.shape == (16, 20)
    if encoding in YUV:
        expected = luma_chroma(raw, encoding)[0]
    else:
        expected = luma(expected_bgr(raw, encoding))
    assert np.abs(interior(gray.astype(float) - expected, encoding)).max() <= 1


@pytest.mark.parametrize('padding', [0, 2, 6])
@pytest.mark.parametrize('encoding', PLANAR)
def test_planar_formats_match_formulas(encoding, padding):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 256, (8, 12)).astype(np.uint8)
    size = (8, 12) if encoding == 'nv24' else (4, 6)
    u, v = rng.integers(0, 256, (2, *size)).astype(np.uint8)
    given = planar_arguments(encoding, y, u, v, padding)
    if encoding != 'nv24':
        u, v = (x.repeat(2, 0).repeat(2, 1) for x in (u, v))
    assert np.abs(bgr_image(*given) - yuv_to_bgr(y, u, v)).max() <= 1
    assert np.array_equal(gray_image(*given), y)


@pytest.mark.parametrize('encoding', BAYER)
def test_mosaic_of_one_color(encoding):
    colors = {'r': 200, 'g': 120, 'b': 30}
    dtype, scale = (np.uint16, 16) if encoding.endswith('16') else (np.uint8, 1)
    tile = np.array([colors[letter] * scale for letter in encoding[6:10]], dtype).reshape(2, 2)
    bgr = bgr_image(*arguments(np.tile(tile, (4, 5)), encoding))
    # 12 bits are in use, of which 255 / 4095 is a little more than 1 / 16.
    assert np.abs(bgr.astype(int) - [30, 120, 200]).max() <= 1


@given(
    st.sampled_from(list(LAYOUT)),
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
    for convert in (bgr_image, gray_image):
        plain = convert(*arguments(raw, encoding))
        assert np.array_equal(convert(*arguments(raw, encoding, padding, last_padded, big)), plain)


@pytest.mark.parametrize('data', [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, 'u1')])
def test_data_of_any_buffer_type(data):
    raw = pixels('rgb16')
    *fields, given = arguments(raw, 'rgb16', padding=3)
    assert np.array_equal(bgr_image(*fields, data(given)), expected_bgr(raw, 'rgb16'))


def test_matching_encoding_is_not_copied():
    for encoding, convert in (('bgr8', bgr_image), ('mono8', gray_image)):
        raw = pixels(encoding)
        data = bytearray(raw.tobytes())
        image = convert(encoding, *raw.shape[:2], raw.strides[0], False, data)
        data[0] ^= 0xFF
        assert image.flat[0] == data[0]


def test_depth_in_millimeters_and_meters_gives_the_same_image():
    depth_m = np.random.default_rng(0).uniform(0.5, 4, (48, 64)).astype(np.float32)
    depth_m[:8] = 0
    in_mm = (depth_m * 1000).round().astype(np.uint16)
    missing = depth_m.copy()
    missing[:8] = np.nan
    meters = gray_image(*arguments(missing, '32FC1'))
    millimeters = gray_image(*arguments(in_mm, '16UC1'))
    assert np.abs(meters.astype(int) - millimeters).max() <= 6  # of 4 m, or of 4.095 m
    assert not meters[:8].any()


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        (
            {'encoding': '32FC2'},
            "'32FC2' is not an image: only 1, 3 or 4 channels .* bgr8",
        ),
        ({'encoding': '8UC5'}, "'8UC5' is not an image"),
        ({'encoding': '64UC1'}, "'64UC1' is not an image"),
        ({'encoding': ''}, "encoding '' is unknown: configure the driver .* image_proc"),
        ({'encoding': 'BGR8'}, "encoding 'BGR8' is unknown, did you mean bgr8"),
        ({'encoding': 'rgb'}, "encoding 'rgb' is unknown, did you mean rgb8"),
        ({'encoding': 'jpeg'}, 'compressed: publish it as sensor_msgs/msg/CompressedImage'),
        ({'width': 0}, 'the image has 0 x 4 pixels'),
        ({'height': 0}, 'the image has 6 x 0 pixels'),
        ({'data': b''}, 'data has 0 bytes, but 6 x 4 pixels in rgb8 .* need 72'),
        ({'data': bytes(71)}, '71 bytes'),
        ({'height': 5}, '72 bytes, .* need 90'),
        ({'step': 17}, 'step 17 is less than the 18 bytes of 6 pixels'),
        ({'step': 0}, 'step 0'),
        ({'step': 2**32 - 1}, '72 bytes'),
        ({'width': 2**32 - 1, 'height': 2**32 - 1}, 'step 18 is less'),
        ({'encoding': 'yuv422', 'width': 5}, 'width 5 is odd'),
        ({'encoding': 'nv12', 'width': 5, 'height': 2}, 'width 5 is odd'),
        ({'encoding': 'nv12', 'height': 3, 'step': 6}, 'height 3 or step 6 is odd'),
        ({'encoding': 'nv12', 'step': 13}, 'height 4 or step 13 is odd'),
        ({'encoding': 'nv21'}, 'need 96'),
        ({'encoding': 'nv24', 'step': 7}, '72 bytes, .* need 83'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
@pytest.mark.parametrize('convert', [bgr_image, gray_image])
def test_malformed_image_is_a_value_error_with_reason(fields, reason, convert):
    valid = {'encoding': 'rgb8', 'height': 4, 'width': 6, 'step': 18}
    valid |= {'is_bigendian': False, 'data': bytes(72)}
    with pytest.raises(ValueError, match=reason) as error:
        convert(**(valid | fields))
    assert '\n' not in str(error.value)


@given(
    st.sampled_from([*ENCODINGS, 'jpeg', '8UC2']),
    *[st.integers(0, 12)] * 2,
    st.integers(0, 100),
    st.binary(max_size=400),
    st.booleans(),
)
def test_arbitrary_images_convert_or_raise_value_error(encoding, height, width, step, data, big):
    for convert in (bgr_image, gray_image):
        try:
            image = convert(encoding, height, width, step, big, data)
        except ValueError:
            continue
        assert image.shape[:2] == (height, width)
        assert image.dtype == np.uint8


@pytest.mark.parametrize('encoding', [name for name in UNSIGNED if 'UC' not in name])
def test_agrees_with_rosbags_image(encoding):
    """It supports no padding, does not convert generic encodings, and does not round."""
    library = pytest.importorskip('rosbags.image')
    raw = pixels(encoding, 16, 20)
    _, height, width, step, _, data = arguments(raw, encoding)
    message = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=0, data=data
    )
    for wanted, convert in (('bgr8', bgr_image), ('mono8', gray_image)):
        theirs = library.image_to_cvimage(message, wanted)
        difference = convert(*arguments(raw, encoding)).astype(int) - theirs
        assert difference.min() >= (-1 if raw.dtype == np.uint16 else 0)
        assert difference.max() <= (1 if raw.dtype == np.uint16 else 0)
