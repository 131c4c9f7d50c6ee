# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed images in messages and files: formats, bit depths, transparency, damage."""

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sage_perception.vision import image_file
from sage_perception.vision.compressed_images import bgr_from_compressed
from sage_perception.vision.image_file import decode_pixels, read_bgr
from sage_perception.vision.intensity_range import IntensityRange


def photo(height=48, width=64):
    """Return a smooth color image, uint8 BGR."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([3 * x, 5 * y, x + y], axis=-1).astype(np.uint8)


def encoded(image, suffix='.png'):
    return cv2.imencode(suffix, image)[1].tobytes()


def depth_message(pixels, a=0.0, b=0.0):
    """Return depth as compressed_depth_image_transport writes it."""
    return struct.pack('<iff', 0, a, b) + encoded(pixels)


@pytest.mark.parametrize(
    ('format_name', 'suffix', 'error'),
    [
        ('jpeg', '.jpg', 12),
        ('png', '.png', 0),
        ('bgr8; jpeg compressed bgr8', '.jpg', 12),
        ('rgb8; png compressed bgr8', '.png', 0),
        ('webp', '.webp', 20),
        ('bgr8; tiff compressed bgr8', '.tiff', 0),
        ('', '.png', 0),
    ],
)
@pytest.mark.parametrize('buffer', [bytes, lambda data: np.frombuffer(data, np.uint8)])
def test_formats_of_color(format_name, suffix, error, buffer):
    image = bgr_from_compressed(format_name, buffer(encoded(photo(), suffix)))
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - photo()).max() <= error


def test_gray_has_three_channels():
    gray = photo()[..., 0]
    image = bgr_from_compressed('mono8; png compressed mono8', encoded(gray))
    assert np.array_equal(image, np.dstack([gray] * 3))


def test_sixteen_bits_are_scaled_by_the_range_of_the_stream():
    intensity = IntensityRange()
    bright = photo()[..., 0].astype(np.uint16) * 16
    for image in (bright, bright // 4):
        scaled = bgr_from_compressed('mono16; png compressed ', encoded(image), intensity)
        assert np.abs(scaled[..., 0] * (4095 / 255) - image).max() <= 9
    bright = photo().astype(np.uint16) * 16
    color = bgr_from_compressed('bgr16; png compressed bgr16', encoded(bright))
    assert np.abs(color.astype(int) - photo()).max() <= 1


@pytest.mark.parametrize(('encoding', 'bits'), [('bayer_rggb8', 8), ('bayer_grbg16', 16)])
def test_mosaics_are_demosaiced(encoding, bits):
    colors = {'r': 200, 'g': 120, 'b': 30}
    tile = np.array([colors[letter] for letter in encoding[6:10]]).reshape(2, 2)
    mosaic = np.tile(tile, (8, 8)).astype(np.uint8)
    if bits == 16:
        mosaic = mosaic.astype(np.uint16) * 16
    image = bgr_from_compressed(f'{encoding}; png compressed ', encoded(mosaic))
    assert np.abs(image.astype(int) - [30, 120, 200]).max() <= 1


def test_depth_of_integers_and_floats_is_the_same():
    millimeters = np.linspace(500, 4000, 48 * 64).reshape(48, 64).astype(np.uint16)
    millimeters[:8] = 0
    # As compressed_depth_image_transport quantizes with a depth_max of 10 m and 100 steps/m².
    a, b = 100.0 * 101.0, 1 - 100.0 * 101.0 / 10
    quantized = np.where(millimeters, a / (millimeters.clip(1) / 1000) + b, 0).astype(np.uint16)
    integers = bgr_from_compressed('16UC1; compressedDepth', depth_message(millimeters))
    floats = bgr_from_compressed('32FC1; compressedDepth png', depth_message(quantized, a, b))
    assert not integers[:8].any()
    assert not floats[:8].any()
    assert np.abs(integers.astype(int) - floats).max() <= 6  # of 4 m, or of 4.095 m
    assert integers[-1, -1, 0] == pytest.approx(4000 / 4095 * 255, abs=1)


@pytest.mark.parametrize(
    ('format_name', 'data', 'reason'),
    [
        ('jpeg', b'', "the image in format 'jpeg' is not an image"),
        ('h264', b'\0\0\0\1\x67' + bytes(90), "'h264' is not an image that Pillow can read"),
        ('jpeg', encoded(photo(), '.jpg')[:-200], 'is truncated'),
        ('png', encoded(photo())[:-20], 'is truncated'),
        ('webp', encoded(photo(), '.webp')[:-30], 'damaged or truncated'),
        ('16UC1; compressedDepth', b'', 'no PNG after the 12 bytes'),
        ('16UC1; compressedDepth', bytes(99), 'no PNG after the 12 bytes'),
        ('16UC1; compressedDepth rvl', bytes(99), 'RVL .* set the .* parameter format to png'),
        ('16UC1; compressedDepth png', depth_message(photo()), r'uint8 pixels .* not uint16'),
    ],
)
def test_unusable_data_is_a_value_error_with_reason(format_name, data, reason):
    with pytest.raises(ValueError, match=reason) as error:
        bgr_from_compressed(format_name, data)
    assert '\n' not in str(error.value)


def test_padding_after_the_end_is_accepted():
    """As cameras that deliver buffers of a fixed size do."""
    data = encoded(photo(), '.jpg')
    image = bgr_from_compressed('jpeg', data + bytes(10_000))
    assert np.array_equal(image, bgr_from_compressed('jpeg', data))


def test_size_is_checked_before_decoding(monkeypatch):
    monkeypatch.setattr(image_file, 'MAX_PIXELS', 3000)
    with pytest.raises(ValueError, match='too large: 64 x 48 pixels, at most 3000'):
        bgr_from_compressed('png', encoded(photo()))


@settings(max_examples=300)
@given(
    st.sampled_from(['.jpg', '.png', '.webp', '.tiff', '.bmp', 'depth']),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_mutated_data_decodes_or_raises_value_error(suffix, seed, cut):
    rng = np.random.default_rng(seed)
    depth = suffix == 'depth'
    data = bytearray(
        depth_message(np.full((9, 9), 99, np.uint16)) if depth else encoded(photo(16, 24), suffix)
    )
    for _ in range(rng.integers(1, 8)):
        data[rng.integers(len(data))] = rng.integers(256)
    if cut:
        data = data[: rng.integers(len(data))]
    image, text = None, ''
    try:
        image = bgr_from_compressed('32FC1; compressedDepth' if depth else '', bytes(data))
    except ValueError as error:
        text = str(error)
    assert '\n' not in text
    assert image is None or (image.dtype, image.shape[2:]) == (np.uint8, (3,))


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P'])
def test_transparent_pixels_are_composed_on_the_background(tmp_path, mode):
    image = Image.new('RGBA', (20, 10), (200, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 10, 10))
    if mode == 'P':
        # Palette entry 1 is transparent and red.
        image = Image.new('P', (20, 10), 1)
        image.putpalette([255, 255, 255, 200, 0, 0])
        image.paste(0, (0, 0, 10, 10))
        image.save(tmp_path / 'image.png', transparency=1)
    else:
        image.convert(mode).save(tmp_path / 'image.png')
    pixels = read_bgr(tmp_path / 'image.png')
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == image_file.BACKGROUND).all()


@pytest.mark.parametrize('mode', ['RGB', 'L', 'RGBA'])
def test_orientation_of_exif_is_applied(tmp_path, mode):
    image = Image.fromarray(photo()[..., ::-1]).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise to display
    stream = io.BytesIO()
    image.save(stream, 'png', exif=exif)
    upright = read_as(tmp_path, stream)
    stream = io.BytesIO()
    image.save(stream, 'png')
    assert np.array_equal(upright, np.rot90(read_as(tmp_path, stream), -1))


def read_as(folder, stream):
    (folder / 'image.png').write_bytes(stream.getvalue())
    return read_bgr(folder / 'image.png')


def test_file_of_twelve_bits_looks_like_one_of_eight(tmp_path):
    gray = photo()[..., 1]
    cv2.imwrite(str(tmp_path / 'deep.png'), np.rint(gray / 255 * 4095).astype(np.uint16))
    assert np.abs(read_bgr(tmp_path / 'deep.png')[..., 0].astype(int) - gray).max() <= 1


def test_file_of_floats_is_scaled(tmp_path):
    gray = photo()[..., 1]
    cv2.imwrite(str(tmp_path / 'meters.tiff'), gray.astype(np.float32) / 100)
    image = read_bgr(tmp_path / 'meters.tiff')[..., 0]
    assert np.abs(image / 255 * 4 - gray / 100).max() <= 0.02
    assert decode_pixels((tmp_path / 'meters.tiff').read_bytes()).dtype == np.float32
