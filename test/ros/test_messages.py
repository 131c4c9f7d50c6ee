# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Values to messages to bytes and back: nothing may be lost on the way."""

import enum
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import sage_msgs.msg as sage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs.packing import Encoding, Packer, PackingError
from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import HaltReason, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation, Proof, Provenance
from sage_perception.ros.conversions.announcements import model_info_from_msg, model_info_to_msg
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.latents import (
    UnknownModel,
    latent_from_msg,
    latent_size_bytes,
    latent_to_msg,
)
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.ros.conversions.model_ids import model_id_from_msg, model_id_to_msg
from sage_perception.ros.conversions.rois import roi_from_msg, roi_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.conversions.telemetry import telemetry_from_msg, telemetry_to_msg
from sage_perception.ros.images import mono_from_msg, rgb_from_msg
from sage_perception.trust.security.canonical import latent_digest

# The checks of message fields stop a little short of the largest float32.
FLOAT = st.floats(-(2.0**127), 2.0**127, width=32) | st.sampled_from([np.inf, -np.inf, np.nan])
UINT32 = st.integers(0, 2**32 - 1)
# What a string of the interface may hold, in bytes.
SHORT = st.text(st.characters(codec='ascii', exclude_characters='\0'), max_size=32)
STAMPS = st.integers(0, 2**31 * 10**9 - 1)

rois = st.one_of(
    st.none(), st.builds(Roi, UINT32, UINT32, st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))
)
model_ids = st.builds(ModelId, SHORT, SHORT, st.binary(min_size=32, max_size=32))
telemetries = st.builds(
    Telemetry,
    *[FLOAT] * 5,
    iterations=st.integers(0, 2**16 - 1),
    energy_trajectory=st.lists(FLOAT, max_size=8).map(tuple),
    converged=st.booleans(),
    halt_reason=st.sampled_from(HaltReason),
    budget_spent=FLOAT,
)


@st.composite
def latents(draw):
    size = draw(st.sampled_from([1, 16, 64]))
    numbers = arrays(np.float32, size, elements=FLOAT)
    return Latent(
        draw(numbers),
        draw(st.one_of(st.none(), numbers)),
        draw(st.sampled_from(LatentKind)),
        draw(model_ids),
        draw(rois),
        draw(UINT32),
        draw(telemetries),
    )


proofs = st.builds(
    Proof,
    st.integers(0, 2**64 - 1),
    STAMPS,
    FLOAT,
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=64),
)
steps = st.builds(
    Provenance,
    st.sampled_from(Operation),
    SHORT,
    model_ids,
    st.binary(min_size=16, max_size=16),
    FLOAT,
    st.none() | proofs,
)
lcts = st.builds(
    LCT,
    SHORT,
    st.integers(0, 2**64 - 1),
    STAMPS,
    latents(),
    st.lists(steps, max_size=4).map(tuple),
    FLOAT,
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=64),
)


def through_bytes(message):
    """What a subscriber gets."""
    return deserialize_message(serialize_message(message), type(message))


def assert_same(a, b):
    """Compare every field of a value, bit for bit; not a number is itself."""
    assert type(a) is type(b)
    if is_dataclass(a):
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for pair in zip(a, b, strict=True):
            assert_same(*pair)
    else:
        assert a == b or (a != a and b != b)


@given(STAMPS)
def test_stamps(ns):
    assert stamp_from_msg(through_bytes(stamp_to_msg(ns))) == ns


@given(rois)
def test_regions(roi):
    assert_same(roi_from_msg(through_bytes(roi_to_msg(roi))), roi)


@given(model_ids)
def test_model_ids(model):
    assert_same(model_id_from_msg(through_bytes(model_id_to_msg(model))), model)


@given(telemetries)
def test_telemetry(telemetry):
    assert_same(telemetry_from_msg(through_bytes(telemetry_to_msg(telemetry))), telemetry)


@given(latents())
def test_latents(latent):
    assert_same(latent_from_msg(through_bytes(latent_to_msg(latent))), latent)


@given(lcts)
def test_lcts(lct):
    arrived = lct_from_msg(through_bytes(lct_to_msg(lct)))
    digest = latent_digest(lct.latent) if lct.signature else b''
    assert_same(arrived, replace(lct, digest=digest))


@given(
    st.sampled_from([(8, 8, 3), (5, 5)]),
    rois.filter(bool),
    st.floats(0, 1, width=32),
    st.sampled_from(CropSource),
    UINT32,
    st.integers(0, 99),
)
def test_crops(shape, roi, score, source, track, seed):
    picture = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    header = Header(stamp=stamp_to_msg(seed + 1), frame_id='camera')
    crop = Crop(picture, roi, score, source, track)
    message = through_bytes(crop_to_msg(crop, header))
    assert message.image.header == header
    assert np.array_equal(
        (rgb_from_msg if len(shape) == 3 else mono_from_msg)(message.image), picture
    )
    assert roi_from_msg(message.roi) == roi
    assert (message.score, message.source, message.track_id) == (score, int(source), track)


def test_model_info_says_what_the_model_is():
    codec = models.load('tinyvae', backend='onnxruntime')
    message = through_bytes(model_info_to_msg(codec, stamp_to_msg(5)))
    assert stamp_from_msg(message.header.stamp) == 5
    assert model_id_from_msg(message.model) == codec.id
    assert message.latent_dim == codec.latent_dim == len(message.latent_mean)
    assert np.array_equal(message.latent_mean, codec.latent_mean)
    assert np.array_equal(message.latent_std, codec.latent_std)
    assert (message.input_width, message.input_height) == (codec.input_size,) * 2
    assert message.input_encoding == 'rgb8'
    assert list(message.input_mean) == [0.0] * 3
    assert list(message.input_std) == [1.0] * 3
    assert (message.backend, message.precision, message.device) == ('onnxruntime', 'fp32', 'cpu')
    assert message.card == codec.card


SOUND = LCT.encoded(
    Latent(np.zeros(4, np.float32), np.zeros(4, np.float32), roi=Roi(1, 2, 3, 4)),
    entity_id='cam0',
    sequence=1,
    stamp_ns=10**9,
    trust=1.0,
)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda m: setattr(m.latent, 'kind', 99),
        lambda m: setattr(m.latent.telemetry, 'halt_reason', 99),
        lambda m: setattr(m.provenance[0], 'operation', 99),
        lambda m: setattr(m.latent, 'log_var', [0.0] * 3),
    ],
)
def test_parts_that_do_not_fit_together_are_a_value_error(spoil):
    message = lct_to_msg(SOUND)
    lct_from_msg(message)
    spoil(message)
    with pytest.raises(ValueError, match=r'99|log_var has shape \[3\]'):
        lct_from_msg(through_bytes(message))


# Latents in the other wire forms

PACKED = [Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8]
MODEL = ModelId('seen', '1', bytes(range(32)))
PACKER = Packer(np.float32([1, 0, -1, 0]), np.float32([2, 1, 1, 0.5]))
PACKERS = {MODEL.fingerprint: PACKER}
SEEN = replace(SOUND, latent=replace(SOUND.latent, model=MODEL, mean=np.float32([1, 2, 3, -0.5])))


@pytest.mark.parametrize('form', PACKED)
def test_a_packed_latent_loses_its_variance_and_what_the_form_says(form):
    value = lct_from_msg(through_bytes(lct_to_msg(SEEN, form, PACKER)), PACKERS)
    assert np.array_equal(
        value.latent.mean, PACKER.unpack(PACKER.pack(SEEN.latent.mean, form), form)
    )
    assert np.abs(value.latent.mean - SEEN.latent.mean).max() < 0.25
    expected = replace(SEEN, latent=replace(SEEN.latent, mean=value.latent.mean, log_var=None))
    assert_same(value, expected)


@pytest.mark.parametrize('form', PACKED)
def test_a_packed_latent_is_its_payload_alone(form):
    message = latent_to_msg(SEEN.latent, form, PACKER)
    payload = PACKER.pack(SEEN.latent.mean, form)
    assert (message.encoding, bytes(message.payload)) == (form, payload)
    assert (len(message.mean), len(message.log_var)) == (0, 0)
    assert latent_size_bytes(message) == len(payload)
    assert latent_size_bytes(latent_to_msg(SEEN.latent)) == 2 * 4 * 4


def test_a_packed_latent_of_a_model_that_was_not_announced_is_told_apart():
    message = latent_to_msg(SEEN.latent, Encoding.INT8, PACKER)
    with pytest.raises(
        UnknownModel, match='a latent of seen@1#00010203 in encoding INT8 needs the model_info'
    ):
        latent_from_msg(message)
    with pytest.raises(UnknownModel):
        latent_from_msg(message, {bytes(32): PACKER})
    # Numbers that came as numbers are read as ever.
    assert_same(latent_from_msg(latent_to_msg(SEEN.latent)), SEEN.latent)


@pytest.mark.parametrize(
    ('spoil', 'why'),
    [
        (lambda m: setattr(m, 'payload', m.payload[:-1]), '3 bytes are not a latent'),
        (lambda m: setattr(m, 'payload', []), '0 bytes are not a latent'),
        (lambda m: setattr(m, 'mean', [0.0] * 4), '4 floats beside its payload'),
        (lambda m: setattr(m, 'log_var', [0.0] * 4), '4 floats beside its payload'),
        (lambda m: setattr(m, 'encoding', Encoding.FLOAT32), 'has 4 bytes of payload'),
        (lambda m: setattr(m, 'encoding', 99), '99 is not a valid Encoding'),
        (lambda m: setattr(m, 'encoding', Encoding.VQ), 'needs the codebook'),
    ],
)
def test_a_payload_that_is_no_latent_is_a_value_error(spoil, why):
    message = latent_to_msg(SEEN.latent, Encoding.INT8, PACKER)
    spoil(message)
    with pytest.raises(ValueError, match=why):
        latent_from_msg(through_bytes(message), PACKERS)


def test_a_latent_that_is_not_finite_is_not_packed():
    latent = replace(SEEN.latent, mean=np.float32([0, np.nan, 0, 0]))
    with pytest.raises(PackingError, match='not finite'):
        latent_to_msg(latent, Encoding.INT8, PACKER)


def announced_packer(info):
    """What reads packed latents by what was announced of their model."""
    said = model_info_from_msg(info)
    return Packer(said.mean, said.std)


def test_what_a_model_info_says_is_enough_to_unpack():
    codec = models.load('tinyvae', backend='onnxruntime')
    info = through_bytes(model_info_to_msg(codec, stamp_to_msg(5)))
    z = codec.encode(np.random.default_rng(0).random((1, 3, 64, 64), np.float32))[0]
    for form in PACKED:
        message = latent_to_msg(Latent(z, model=codec.id), form, Packer.of(codec))
        packers = {codec.id.fingerprint: announced_packer(info)}
        value = latent_from_msg(through_bytes(message), packers)
        assert np.abs(value.mean - z).max() < 0.5
        decoded = codec.decode(np.stack([z, value.mean]))
        assert np.square(decoded[1] - decoded[0]).mean() < 1e-3


@pytest.mark.parametrize(
    ('fields', 'why'),
    [
        ({'latent_dim': 3}, 'latent_mean has 2 elements, but latent_dim is 3'),
        ({'latent_std': [1.0, 0.0]}, 'not above 0'),
        ({'latent_std': [1.0]}, r'not \[2\] and \[1\]'),
        ({'latent_mean': [np.inf, 0.0]}, 'not finite'),
        ({'latent_mean': [], 'latent_std': [], 'latent_dim': 0}, 'mean and std'),
    ],
)
def test_a_model_info_whose_statistics_cannot_be_is_a_value_error(fields, why):
    sound = {'latent_dim': 2, 'latent_mean': [0.0, 0.0], 'latent_std': [1.0, 1.0]}
    announced_packer(sage.ModelInfo(**sound))
    with pytest.raises(ValueError, match=why):
        announced_packer(sage.ModelInfo(**{**sound, **fields}))


def test_the_longest_lists_that_messages_hold_go_through():
    telemetry = Telemetry(energy_trajectory=(0.5,) * 256)
    long = np.ones(4096, np.float32)
    lct = replace(
        SOUND,
        latent=Latent(long, -long, telemetry=telemetry),
        provenance=SOUND.provenance * 16,
        signature=b's' * 64,
    )
    arrived = lct_from_msg(through_bytes(lct_to_msg(lct)))
    assert_same(arrived, replace(lct, digest=latent_digest(lct.latent)))


def test_an_empty_region_is_none():
    latent = replace(SOUND.latent, roi=None)
    assert latent_from_msg(through_bytes(latent_to_msg(latent))).roi is None


@pytest.mark.parametrize(
    ('values', 'message', 'prefix'),
    [
        (LatentKind, sage.Latent, 'KIND_'),
        (Encoding, sage.Latent, 'ENCODING_'),
        (HaltReason, sage.IrpTelemetry, 'HALT_'),
        (Operation, sage.Provenance, 'OPERATION_'),
        (CropSource, sage.Crop, 'SOURCE_'),
    ],
)
def test_numbers_mean_the_same_in_the_core_and_in_messages(values, message, prefix):
    constants = {
        name[len(prefix) :]: getattr(message, name)
        for name in dir(type(message))
        if name.startswith(prefix)
    }
    assert issubclass(values, enum.IntEnum)
    assert constants == {value.name: int(value) for value in values}
