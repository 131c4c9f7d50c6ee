# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Embedded quantization: complete payloads equal ENTROPY_INT8, cut ones are coarser latents."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_packing import (
    DIM,
    GOLDEN,
    GOLDEN_PACKER,
    MEAN,
    PACKER,
    STD,
    latent,
    steps,
    usual,
    with_check,
)

from sage_perception.codecs.embedded import CUT, HEADER_BYTES, PASSES, cut
from sage_perception.codecs.entropy import CONTRASTS, EntropyCoder
from sage_perception.codecs.packing import Encoding, Packer, PackingError

EMBEDDED, ENTROPY = Encoding.EMBEDDED, Encoding.ENTROPY_INT8
CODER = EntropyCoder(MEAN.astype(float), STD.astype(float))


def unpacked(payload):
    return PACKER.unpack(payload, EMBEDDED)


@given(usual, steps)
def test_a_complete_payload_is_the_latent_of_entropy_int8(units, step):
    z = latent(units)
    payload, other = PACKER.pack(z, EMBEDDED, step), PACKER.pack(z, ENTROPY, step)
    assert np.array_equal(unpacked(payload), PACKER.unpack(other, ENTROPY))
    # The contrast has a byte of its own, and frequencies are rounded in each pass.
    assert len(payload) <= len(other) + 3


@given(usual, st.integers(HEADER_BYTES, 40))
def test_each_symbol_of_a_prefix_is_that_of_the_complete_payload(units, size):
    z = latent(units)
    payload = PACKER.pack(z, EMBEDDED)
    code, contrast, fine = CODER.quantize(z, 0.171875)
    scale = 2.0 ** (code // 8 - 20) * (8 + code % 8) * CONTRASTS[contrast]
    found = np.rint((unpacked(cut(payload, size)).astype(float) - MEAN) / scale).astype(int)
    widths = [3**n for n in range(PASSES + 1)]
    for part, whole in zip(found.tolist(), fine.tolist(), strict=True):
        # The middle of a cell that contains the index; 0: not one symbol is known.
        cells = [w for w in widths if part % w == 0 and abs(part - whole) <= w // 2]
        assert cells or part == 0


def test_longer_prefixes_are_closer():
    rng = np.random.default_rng(0)
    latents = [latent(row) for row in rng.normal(size=(60, DIM))]
    payloads = [PACKER.pack(z, EMBEDDED) for z in latents]
    errors = []
    for size in range(HEADER_BYTES, max(map(len, payloads)) + 1):
        cuts = [unpacked(cut(payload, size)) for payload in payloads]
        errors.append(np.square((np.stack(cuts) - np.stack(latents)) / STD).mean())
    assert errors[0] == pytest.approx(np.square((np.stack(latents) - MEAN) / STD).mean())
    assert errors[-1] < 0.02 * errors[0]
    assert all(later <= earlier * 1.001 for earlier, later in pairwise(errors))


@given(usual, st.integers(HEADER_BYTES, 30), st.integers(HEADER_BYTES, 30))
def test_cutting_twice_is_cutting_once(units, first, second):
    payload = PACKER.pack(latent(units), EMBEDDED)
    size = min(first, second)
    assert cut(cut(payload, first), second) == cut(payload, size)
    assert len(cut(payload, size)) == min(size, len(payload))


@pytest.mark.parametrize(
    ('payload', 'values'),
    [
        ('787394', [-1.0, 0.0, 0.25, 0.5, 0.0, 0.0, 0.125, 0.0]),
        ('e7739491b0', [-4.09375, 0.0, 0.25, 0.5, 0.0, 0.0, 9.40625, 0.0]),
        ('50739491b04411', [-3.0625, 0.0, 0.25, 1.53125, 0.0, 0.0, 7.34375, 0.0]),
        ('c3739491b044117d', [-3.40625, 0.34375, -0.09375, 1.875, 0.0, 0.0, 7.34375, 0.0]),
    ],
)
def test_golden_vectors_of_cut_payloads(payload, values):
    data = bytes.fromhex(payload)
    assert cut(GOLDEN_PACKER.pack(GOLDEN, EMBEDDED), len(data)) == data
    assert GOLDEN_PACKER.unpack(data, EMBEDDED) == pytest.approx(values, abs=1e-6)


def test_a_prefix_without_the_mark_is_rejected():
    payload = PACKER.pack(latent(np.linspace(-2, 2, DIM)), EMBEDDED)
    for size in range(HEADER_BYTES, len(payload)):
        with pytest.raises(PackingError, match='CRC-8'):
            unpacked(payload[:size])
        assert cut(payload, size)[2] & CUT


def test_a_packer_cuts_payloads_to_its_limit():
    packer = Packer(MEAN, STD, max_bytes=9)
    z = latent(np.linspace(-2, 2, DIM))
    payload = packer.pack(z, EMBEDDED)
    assert payload == cut(PACKER.pack(z, EMBEDDED), 9)
    assert len(packer.pack(z, ENTROPY)) > 9, 'only EMBEDDED can be cut'
    with pytest.raises(PackingError, match='has 3 or more'):
        Packer(MEAN, STD, max_bytes=2).pack(z, EMBEDDED)


@pytest.mark.parametrize(
    ('payload', 'reason'),
    [
        (b'\0\0', '2 bytes are not a latent, expected 3 to'),
        (with_check(b'\x10\x20'), 'byte 2 is 0x20, which is not a contrast'),
        (with_check(b'\x10\x01' + bytes(999)), '1002 bytes are not a latent'),
        (with_check(b'\x10\x01\x05\0'), 'trailing bytes'),
    ],
)
def test_names_the_reason_for_rejecting_bytes(payload, reason):
    with pytest.raises(PackingError, match=reason):
        unpacked(payload)
