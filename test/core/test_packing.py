# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encodings of latents: round trips within their error bounds, and rejection of other bytes."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.codecs.codebook import Codebook
from sage_perception.codecs.entropy import (
    CONTRASTS,
    DEFAULT_STEP,
    MAX_INDEX,
    STEPS,
    EntropyCoder,
)
from sage_perception.codecs.packing import RANGE, Encoding, Packer, PackingError
from sage_perception.codecs.range_coder import TOTAL_BITS

DIM = 16
MEAN = np.linspace(-1, 2, DIM, dtype=np.float32)
STD = np.geomspace(5, 0.3, DIM, dtype=np.float32)
SCALE = RANGE * np.sqrt(STD * np.sqrt(np.square(STD.astype(float)).mean()))
BOOK = Codebook(np.random.default_rng(1).normal(size=(3, 300, DIM)).astype(np.float32), bytes(32))
PACKER = Packer(MEAN, STD, BOOK)

# Latents in standard deviations: of usual size, and of any size.
usual = arrays(np.float32, DIM, elements=st.floats(-6, 6, width=32))
any_size = arrays(np.float32, DIM, elements=st.floats(-(2.0**120), 2.0**120, width=32))
steps = st.sampled_from([float(step) for step in STEPS[::5]])


def latent(units):
    return (MEAN + STD * units).astype(np.float32)


def crc8(data):
    """Return the CRC-8, by polynomial division bit by bit."""
    crc = 0
    for byte in data:
        for bit in range(7, -1, -1):
            top = crc >> 7 ^ byte >> bit & 1
            crc = (crc << 1 & 0xFF) ^ (0x07 if top else 0)
    return crc


def with_check(data, before=b''):
    return bytes([crc8(before + data)]) + data


# Round trips


@given(usual)
def test_float32_is_exact(units):
    z = latent(units)
    payload = PACKER.pack(z, Encoding.FLOAT32)
    assert payload == b''.join(np.float32(number).astype('<f4').tobytes() for number in z)
    assert np.array_equal(PACKER.unpack(payload, Encoding.FLOAT32), z)


@given(usual)
def test_float16_keeps_eleven_bits(units):
    z = latent(units)
    payload = PACKER.pack(z, Encoding.FLOAT16)
    assert len(payload) == 2 * DIM
    back = PACKER.unpack(payload, Encoding.FLOAT16)
    assert (np.abs(back - z) <= np.abs(z) * 2.0**-11 + 2.0**-25).all()


@given(usual)
def test_int8_is_fine_near_the_mean_and_bounded_far_from_it(units):
    z = latent(units).astype(float)
    payload = PACKER.pack(z.astype(np.float32), Encoding.INT8)
    assert len(payload) in (DIM, 2 * DIM + 1)
    error = np.abs(PACKER.unpack(payload, Encoding.INT8) - z)
    if len(payload) == DIM:
        assert np.sqrt(np.square(error).mean()) <= 0.0501 * np.median(np.abs(z - MEAN)) + 1e-5
    else:
        assert (error <= np.abs(z - MEAN) * 2.0**-11 + 1e-5).all()
        return
    u = (z - MEAN) / SCALE
    inside = np.abs(u) < 1
    # The slope of (u + 3u³) / 4 is at most 2.5, and 1/4 at the mean.
    assert (error[inside] <= SCALE[inside] * (2.5 / 127 / 2) + 1e-5).all()
    near = np.abs(u) < 0.05
    assert (error[near] <= SCALE[near] * (0.4 / 127 / 2) + 1e-5).all()


@given(usual, steps)
def test_entropy_coding_error_is_half_a_step_times_the_contrast(units, step):
    z = latent(units)
    difference = np.abs(z.astype(float) - MEAN)
    assume(difference.max() < MAX_INDEX * step * CONTRASTS[-1])
    back = PACKER.unpack(PACKER.pack(z, Encoding.ENTROPY_INT8, step), Encoding.ENTROPY_INT8)
    # Contrasts are four per octave; a larger one is chosen where indices would not suffice.
    contrast = max(
        (difference / STD).mean() * 1.13,
        CONTRASTS[0],
        difference.max() / (MAX_INDEX * step) * 1.26,
    )
    assert np.abs(back - z).max() <= step * contrast / 2 * 1.001 + 1e-6


@given(usual, steps)
def test_receiver_needs_neither_the_step_nor_the_codebook(units, step):
    payload = PACKER.pack(latent(units), Encoding.ENTROPY_INT8, step)
    receiver = Packer(MEAN.tolist(), STD.tolist())
    back = receiver.unpack(payload, Encoding.ENTROPY_INT8)
    assert np.array_equal(back, PACKER.unpack(payload, Encoding.ENTROPY_INT8))


@given(any_size, st.sampled_from([Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8]), steps)
def test_values_out_of_range_are_clipped(z, encoding, step):
    payload = PACKER.pack(z, encoding, step)
    back = PACKER.unpack(payload, encoding)
    assert back.dtype == np.float32
    assert (np.abs(back) <= np.abs(z) + np.abs(MEAN) + 0.51 * step * CONTRASTS[-1] + SCALE).all()
    # The size is bounded for improbable latents too.
    assert len(payload) <= 3 + DIM * TOTAL_BITS // 8


def test_entropy_coding_error_is_proportional_to_contrast():
    rng = np.random.default_rng(0)
    units = rng.normal(size=(200, DIM))
    lost = {}
    for contrast in (0.1, 1.0):
        z = [latent(row * contrast) for row in units]
        payloads = [PACKER.pack(row, Encoding.ENTROPY_INT8) for row in z]
        back = [PACKER.unpack(payload, Encoding.ENTROPY_INT8) for payload in payloads]
        lost[contrast] = np.square(np.subtract(back, z)).mean()
        assert np.mean([len(payload) for payload in payloads]) == pytest.approx(12, abs=2)
    assert lost[0.1] == pytest.approx(lost[1.0] / 100, rel=0.3)


def test_halving_the_step_costs_one_bit_per_dimension():
    z = [latent(row) for row in np.random.default_rng(0).standard_t(4, (100, DIM))]
    sizes = [
        np.mean([len(PACKER.pack(row, Encoding.ENTROPY_INT8, step)) for row in z])
        for step in (0.4, 0.2, 0.1)
    ]
    assert np.diff(sizes) == pytest.approx([DIM / 8] * 2, abs=0.3)


@pytest.mark.parametrize('code', [0, 1, 90, 180, 254, 255])
@pytest.mark.parametrize('std', [1e-45, 1e-3, 1.0, 1e3, 3e38])
def test_intervals_of_indices_are_not_empty_and_cover_all(code, std):
    coder = EntropyCoder(np.zeros(2), np.float64([np.float32(std), 1]))
    for row in coder.cumulative(code):
        assert (row[0], row[-1]) == (0, 1 << TOTAL_BITS)
        assert np.diff(row).min() >= 1


def test_dimensions_with_similar_deviation_share_a_row():
    std = np.geomspace(0.1, 10, 4000, dtype=np.float32)
    packer = Packer(np.zeros(4000, np.float32), std)
    z = np.random.default_rng(0).normal(size=4000).astype(np.float32) * std
    payload = packer.pack(z, Encoding.ENTROPY_INT8)
    rows = EntropyCoder(np.zeros(4000), std.astype(float)).cumulative(payload[1])
    assert len(rows) <= 16 * math.log2(100) + 2
    error = packer.unpack(payload, Encoding.ENTROPY_INT8) - z
    assert np.abs(error).max() <= DEFAULT_STEP / 2 * 1.001


# Golden vectors


GOLDEN = np.float32([-3.25, 0.5, 0.0, 1.75, -0.125, 0.25, 7.0, -0.0625])
GOLDEN_PACKER = Packer(
    np.float32([-1, 0, 0.25, 0.5, 0, 0, 0.125, 0]),
    np.float32([5, 2.5, 1.5, 1, 0.75, 0.5, 0.5, 0.375]),
    Codebook(np.arange(2 * 5 * 8, dtype=np.float32).reshape(2, 5, 8) / 16, bytes(range(32))),
)


@pytest.mark.parametrize(
    ('encoding', 'step', 'payload', 'values'),
    [
        (
            Encoding.FLOAT32,
            DEFAULT_STEP,
            '000050c00000003f000000000000e03f000000be0000803e0000e040000080bd',
            [-3.25, 0.5, 0.0, 1.75, -0.125, 0.25, 7.0, -0.0625],
        ),
        (
            Encoding.FLOAT16,
            DEFAULT_STEP,
            '80c200380000003f00b00034004700ac',
            [-3.25, 0.5, 0.0, 1.75, -0.125, 0.25, 7.0, -0.0625],
        ),
        (
            Encoding.INT8,
            DEFAULT_STEP,
            '8080c0003800b4003d00b00034e04600ac',
            [-3.25, 0.5, 0.0, 1.75, -0.125, 0.25, 7.0, -0.0625],
        ),
        (
            Encoding.ENTROPY_INT8,
            DEFAULT_STEP,
            '3873a34a1560a410',
            [-3.40625, 0.34375, -0.09375, 1.875, 0.0, 0.34375, 7.0, 0.0],
        ),
        (
            Encoding.ENTROPY_INT8,
            0.05,
            '4665a35677e77fb8a5a0',
            [-3.234375, 0.5078125, 0.046875, 1.71875, -0.1015625, 0.203125, 7.03125, -0.1015625],
        ),
        (
            Encoding.ENTROPY_INT8,
            1.0,
            '5c88a36a5660',
            [-3.0, 0.0, 0.25, 2.5, 0.0, 0.0, 6.125, 0.0],
        ),
        (
            Encoding.EMBEDDED,
            DEFAULT_STEP,
            '83731491b044117dc0',
            [-3.40625, 0.34375, -0.09375, 1.875, 0.0, 0.34375, 7.0, 0.0],
        ),
        (
            Encoding.EMBEDDED,
            1.0,
            'bd881484d16c',
            [-3.0, 0.0, 0.25, 2.5, 0.0, 0.0, 6.125, 0.0],
        ),
        (Encoding.VQ, DEFAULT_STEP, '2020', [3.0, 3.125, 3.25, 3.375, 3.5, 3.625, 3.75, 3.875]),
    ],
)
def test_golden_vectors(encoding, step, payload, values):
    assert GOLDEN_PACKER.pack(GOLDEN, encoding, step).hex() == payload
    back = GOLDEN_PACKER.unpack(bytes.fromhex(payload), encoding)
    assert back == pytest.approx(values, abs=1e-6)


def test_coarse_int8_of_earlier_releases_decodes():
    back = GOLDEN_PACKER.unpack(bytes.fromhex('df0cf826fa0d71fc'), Encoding.INT8)
    first = [-3.2850018, 0.5016643, -0.0053041, 1.7413261, -0.1346986, 0.2441477, 7.0692453]
    assert back == pytest.approx([*first, -0.0632629], abs=1e-6)


def test_int8_does_not_clip():
    z = MEAN + 3 * SCALE * np.sign(np.arange(DIM) - 3.5)
    back = PACKER.unpack(PACKER.pack(z.astype(np.float32), Encoding.INT8), Encoding.INT8)
    assert back == pytest.approx(z, rel=1e-3, abs=1e-3)


# Rejection


@pytest.mark.parametrize('encoding', Encoding)
@given(st.data())
def test_any_bytes_unpack_to_a_finite_latent_or_raise(encoding, data):
    longest = 4 * DIM + 4
    payload = data.draw(st.binary(max_size=longest))
    if data.draw(st.booleans()):
        payload = with_check(payload, BOOK.digest if encoding == Encoding.VQ else b'')
    try:
        z = PACKER.unpack(payload, encoding)
    except PackingError:
        return
    assert z.shape == (DIM,)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()


@given(usual, st.data(), st.sampled_from([Encoding.ENTROPY_INT8, Encoding.VQ]))
def test_rejects_an_altered_byte(units, data, encoding):
    payload = bytearray(PACKER.pack(latent(units), encoding))
    index = data.draw(st.integers(0, len(payload) - 1))
    payload[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PackingError):
        PACKER.unpack(bytes(payload), encoding)


@pytest.mark.parametrize('encoding', Encoding)
def test_rejects_truncated_and_extended_bytes(encoding):
    rng = np.random.default_rng(0)
    missed = tried = 0
    for row in rng.normal(size=(40, DIM)):
        payload = PACKER.pack(latent(row), encoding)
        wrong = [payload[:size] for size in range(len(payload))]
        wrong += [payload + bytes([tail]) for tail in (0, 1, 255)]
        for each in wrong:
            tried += 1
            try:
                PACKER.unpack(each, encoding)
                missed += 1
            except PackingError:
                pass
    # Entropy-coded latents have no fixed length: their check byte misses one in 256.
    coded = encoding in (Encoding.ENTROPY_INT8, Encoding.EMBEDDED)
    assert missed <= (tried / 100 if coded else 0)


@pytest.mark.parametrize(
    ('payload', 'encoding', 'reason'),
    [
        (b'\0' * 63, Encoding.FLOAT32, '63 bytes are not a latent, expected 64'),
        (b'\0' * 64, Encoding.FLOAT16, '64 bytes are not a latent, expected 32'),
        (np.full(DIM, np.nan, '<f4').tobytes(), Encoding.FLOAT32, 'not finite'),
        (np.full(DIM, np.inf, '<f2').tobytes(), Encoding.FLOAT16, 'not finite'),
        (b'\x80' * DIM, Encoding.INT8, 'byte 0x80 is not valid'),
        (b'', Encoding.ENTROPY_INT8, '0 bytes are not a latent'),
        (b'\0' * 999, Encoding.ENTROPY_INT8, '999 bytes are not a latent'),
        (b'\1\0', Encoding.ENTROPY_INT8, 'CRC-8 mismatch'),
        (with_check(b'\xa5' + b'\7' * 40), Encoding.ENTROPY_INT8, 'trailing bytes'),
        (with_check(b'\xa5\7\0'), Encoding.ENTROPY_INT8, 'trailing bytes'),
        (b'\0' * 6, Encoding.VQ, '6 bytes are not a latent, expected 5 with <codebook'),
        (b'\0' * 5, Encoding.VQ, 'another codebook'),
        (b'', 99, 'unknown encoding 99'),
    ],
)
def test_names_the_reason_for_rejecting_bytes(payload, encoding, reason):
    with pytest.raises(PackingError, match=reason):
        PACKER.unpack(payload, encoding)


def test_rejects_values_that_overflow_float32():
    packer = Packer(np.full(2, 3e38, np.float32), np.full(2, 3e38, np.float32))
    with pytest.raises(PackingError, match='not finite'):
        packer.unpack(b'\x7f\x7f', Encoding.INT8)


@pytest.mark.parametrize('tiny', [1e-45, 1e-30, 1e30])
def test_supports_deviations_of_any_size(tiny):
    packer = Packer(np.zeros(2, np.float32), np.float32([tiny, 1]))
    z = np.float32([0, 0.5])
    back = packer.unpack(packer.pack(z, Encoding.ENTROPY_INT8), Encoding.ENTROPY_INT8)
    assert back == pytest.approx(z, abs=DEFAULT_STEP)


@pytest.mark.parametrize(
    ('z', 'encoding', 'step', 'reason'),
    [
        (np.zeros(DIM - 1), Encoding.INT8, 0.1, r'float32 \[16\], not \[15\]'),
        (np.full(DIM, np.nan), Encoding.ENTROPY_INT8, 0.1, 'the latent is not finite'),
        (np.zeros(DIM), Encoding.ENTROPY_INT8, 0.0, 'step is 0.0; it must be above 0'),
        (np.zeros(DIM), Encoding.ENTROPY_INT8, math.inf, 'step is inf'),
        (np.zeros(DIM), Encoding.ENTROPY_INT8, math.nan, 'step is nan'),
        (np.zeros(DIM), 99, 0.1, 'unknown encoding 99'),
    ],
)
def test_names_the_reason_for_not_packing(z, encoding, step, reason):
    with pytest.raises(PackingError, match=reason):
        PACKER.pack(z.astype(np.float32), encoding, step)


@pytest.mark.parametrize(
    ('mean', 'std', 'reason'),
    [
        ([0, 0], [1], r'not \[2\] and \[1\]'),
        ([], [], 'two float32'),
        ([math.nan], [1], 'not finite'),
        ([0], [math.inf], 'not finite'),
        ([0], [0], 'not above 0'),
        ([0], [-1], 'not above 0'),
    ],
)
def test_rejects_invalid_statistics(mean, std, reason):
    with pytest.raises(ValueError, match=reason):
        Packer(np.float32(mean), np.float32(std))


# Tokens


@given(usual)
def test_tokens_take_the_minimal_number_of_bits(units):
    z = latent(units)
    payload = PACKER.pack(z, Encoding.VQ)
    assert len(payload) == 1 + math.ceil(3 * 9 / 8)
    assert np.array_equal(
        PACKER.unpack(payload, Encoding.VQ), BOOK.decode(BOOK.encode(z[None]))[0]
    )


def test_rejects_tokens_of_another_codebook():
    other = Packer(MEAN, STD, Codebook(BOOK.levels[::-1].copy(), BOOK.fingerprint))
    z = [latent(row) for row in np.random.default_rng(0).normal(size=(20, DIM))]
    rejected = 0
    for payload in (PACKER.pack(row, Encoding.VQ) for row in z):
        try:
            other.unpack(payload, Encoding.VQ)
        except PackingError as error:
            rejected += 'of another codebook' in str(error)
    assert rejected >= 19


def test_rejects_bits_that_are_not_tokens():
    for bits in ('111111111' + '0' * 18 + '00000', '0' * 27 + '00001'):
        payload = with_check(int(bits, 2).to_bytes(4, 'big'), BOOK.digest)
        with pytest.raises(PackingError, match='not tokens of'):
            PACKER.unpack(payload, Encoding.VQ)


def test_vq_needs_a_codebook():
    packer = Packer(MEAN, STD)
    with pytest.raises(PackingError, match='needs the codebook'):
        packer.pack(MEAN, Encoding.VQ)
    with pytest.raises(PackingError, match='needs the codebook'):
        packer.unpack(b'\0' * 5, Encoding.VQ)


def test_rejects_a_codebook_of_another_dimension():
    with pytest.raises(ValueError, match='for 16 dimensions, not 2'):
        Packer(np.zeros(2, np.float32), np.ones(2, np.float32), BOOK)
