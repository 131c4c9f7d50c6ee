# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Values converted to messages, serialized, and back are equal to the original."""

import enum
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import sage_msgs.msg as sage
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs.packing import Encoding, Packer, PackingError
from sage_perception.core.frame import Crop, CropSource
from sage_perception.core.latent import (
    Code,
    HaltReason,
    Latent,
    LatentKind,
    ModelId,
    Roi,
    Telemetry,
)
from sage_perception.core.lct import LCT, Membership, Operation, Proof, Provenance
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
from sage_perception.trust.security.canonical import PLAIN, Wire, latent_digest, version_of

# The limit of the checks of message fields is a little below the largest float32.
FLOAT = st.floats(-(2.0**127), 2.0**127, width=32) | st.sampled_from([np.inf, -np.inf, np.nan])
UINT32 = st.integers(0, 2**32 - 1)
DIGESTS = st.binary(min_size=32, max_size=32)
# Strings that fit the bounds of the interfaces.
SHORT = st.text(st.characters(codec='ascii', exclude_characters='\0'), max_size=32)
STAMPS = st.integers(0, 2**31 * 10**9 - 1)

rois = st.one_of(
    st.none(), st.builds(Roi, UINT32, UINT32, st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))
)
model_ids = st.builds(ModelId, SHORT, SHORT, st.binary(min_size=32, max_size=32))
telemetries = st.builds(
    Telemetry,
    *[FLOAT] * 5,
    iterations=st.integers(1, 2**16 - 1),
    energy_trajectory=st.lists(FLOAT, max_size=8).map(tuple),
    converged=st.booleans(),
    halt_reason=st.sampled_from(HaltReason),
    budget_spent=FLOAT,
)


codes = st.builds(
    Code,
    st.sampled_from(LatentKind),
    DIGESTS.map(lambda digest: ModelId(fingerprint=digest)),
    st.integers(0, 255),
    st.binary(max_size=9),
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
        tuple(draw(st.lists(codes, max_size=3))),
        draw(st.none() | st.tuples(*[FLOAT] * 5)),
    )


memberships = st.builds(
    Membership,
    st.integers(0, 255),
    st.integers(0, 255),
    DIGESTS,
    st.lists(DIGESTS, max_size=6).map(tuple),
)
proofs = st.builds(
    Proof,
    st.integers(0, 2**64 - 1),
    STAMPS,
    FLOAT,
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=64),
    st.none() | memberships,
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
    """Return a message as a subscriber receives it."""
    return deserialize_message(serialize_message(message), type(message))


def assert_same(a, b):
    """Compare all fields of a value bit for bit; NaN equals NaN."""
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
def test_stamp_round_trip(ns):
    assert stamp_from_msg(through_bytes(stamp_to_msg(ns))) == ns


@given(rois)
def test_roi_round_trip(roi):
    assert_same(roi_from_msg(through_bytes(roi_to_msg(roi))), roi)


@given(model_ids)
def test_model_id_round_trip(model):
    assert_same(model_id_from_msg(through_bytes(model_id_to_msg(model))), model)


@given(telemetries)
def test_telemetry_round_trip(telemetry):
    assert_same(telemetry_from_msg(through_bytes(telemetry_to_msg(telemetry))), telemetry)


@given(latents())
def test_latent_round_trip(latent):
    assert_same(latent_from_msg(through_bytes(latent_to_msg(latent))), latent)


@given(lcts)
def test_lct_round_trip(lct):
    arrived = lct_from_msg(through_bytes(lct_to_msg(lct)))
    digest = latent_digest(lct.latent, version=version_of(lct)) if lct.signature else b''
    assert_same(arrived, replace(lct, digest=digest))


@given(
    st.sampled_from([(8, 8, 3), (5, 5)]),
    rois.filter(bool),
    st.floats(0, 1, width=32),
    st.sampled_from(CropSource),
    UINT32,
    st.integers(0, 99),
)
def test_crop_round_trip(shape, roi, score, source, track, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    header = Header(stamp=stamp_to_msg(seed + 1), frame_id='camera')
    crop = Crop(pixels, roi, score, source, track)
    message = through_bytes(crop_to_msg(crop, header))
    assert message.image.header == header
    assert np.array_equal(
        (rgb_from_msg if len(shape) == 3 else mono_from_msg)(message.image), pixels
    )
    assert roi_from_msg(message.roi) == roi
    assert (message.score, message.source, message.track_id) == (score, int(source), track)


def test_model_info_describes_the_model():
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


VALID = LCT.encoded(
    Latent(np.zeros(4, np.float32), np.zeros(4, np.float32), roi=Roi(1, 2, 3, 4)),
    entity_id='cam0',
    sequence=1,
    stamp_ns=10**9,
    trust=1.0,
)


@pytest.mark.parametrize(
    'damage',
    [
        lambda m: setattr(m.latent, 'kind', 99),
        lambda m: setattr(m.latent.telemetry[0], 'halt_reason', 99),
        lambda m: m.latent.codes.append(sage.Code(kind=99)),
        lambda m: m.latent.codes.append(sage.Code(model=99)),
        lambda m: m.membership.append(sage.Membership(path=[0] * 99)),
        lambda m: setattr(m.provenance[0], 'operation', 99),
        lambda m: setattr(m.latent, 'log_var', [0.0] * 3),
        lambda m: setattr(m.stamp, 'nanosec', 10**9),
        lambda m: m.provenance[0].proof.append(
            sage.Proof(stamp=Time(sec=2**31 - 1, nanosec=2**32 - 1))
        ),
    ],
)
def test_invalid_fields_are_a_value_error(damage):
    message = lct_to_msg(VALID)
    lct_from_msg(message)
    damage(message)
    with pytest.raises(ValueError, match=r'99|log_var has shape \[3\]|nanosec'):
        lct_from_msg(through_bytes(message))


# Packed latents

PACKED = [Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8]
MODEL = ModelId('seen', '1', bytes(range(32)))
PACKER = Packer(np.float32([1, 0, -1, 0]), np.float32([2, 1, 1, 0.5]))
PACKERS = {MODEL.fingerprint: PACKER}
PACKABLE = replace(
    VALID, latent=replace(VALID.latent, model=MODEL, mean=np.float32([1, 2, 3, -0.5]))
)


@pytest.mark.parametrize('encoding', PACKED)
def test_packing_keeps_mean_approximately_and_drops_variance(encoding):
    value = lct_from_msg(through_bytes(lct_to_msg(PACKABLE, encoding, PACKER)), PACKERS)
    assert np.array_equal(
        value.latent.mean, PACKER.unpack(PACKER.pack(PACKABLE.latent.mean, encoding), encoding)
    )
    assert np.abs(value.latent.mean - PACKABLE.latent.mean).max() < 0.25
    expected = replace(
        PACKABLE, latent=replace(PACKABLE.latent, mean=value.latent.mean, log_var=None)
    )
    assert_same(value, expected)


@pytest.mark.parametrize('encoding', PACKED)
def test_packed_message_has_payload_only(encoding):
    message = latent_to_msg(PACKABLE.latent, encoding, PACKER)
    payload = PACKER.pack(PACKABLE.latent.mean, encoding)
    assert (message.encoding, bytes(message.payload)) == (encoding, payload)
    assert (len(message.mean), len(message.log_var)) == (0, 0)
    assert latent_size_bytes(PACKABLE.latent, Wire(int(encoding), payload)) == len(payload)
    assert latent_size_bytes(PACKABLE.latent, PLAIN) == 2 * 4 * 4


def test_packed_latent_of_unannounced_model_is_unknown_model():
    message = latent_to_msg(PACKABLE.latent, Encoding.INT8, PACKER)
    with pytest.raises(
        UnknownModel, match='a latent of seen@1#00010203 in encoding INT8 needs the model_info'
    ):
        latent_from_msg(message)
    with pytest.raises(UnknownModel):
        latent_from_msg(message, {bytes(32): PACKER})
    # FLOAT32 needs no packer.
    assert_same(latent_from_msg(latent_to_msg(PACKABLE.latent)), PACKABLE.latent)


@pytest.mark.parametrize(
    ('damage', 'reason'),
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
def test_invalid_payload_is_a_value_error(damage, reason):
    message = latent_to_msg(PACKABLE.latent, Encoding.INT8, PACKER)
    damage(message)
    with pytest.raises(ValueError, match=reason):
        latent_from_msg(through_bytes(message), PACKERS)


def test_packing_rejects_latent_that_is_not_finite():
    latent = replace(PACKABLE.latent, mean=np.float32([0, np.nan, 0, 0]))
    with pytest.raises(PackingError, match='not finite'):
        latent_to_msg(latent, Encoding.INT8, PACKER)


def announced_packer(info):
    """Return the packer of an announced model."""
    announcement = model_info_from_msg(info)
    return Packer(announcement.mean, announcement.std)


def test_model_info_is_sufficient_to_unpack():
    codec = models.load('tinyvae', backend='onnxruntime')
    info = through_bytes(model_info_to_msg(codec, stamp_to_msg(5)))
    z = codec.encode(np.random.default_rng(0).random((1, 3, 64, 64), np.float32))[0]
    for encoding in PACKED:
        message = latent_to_msg(Latent(z, model=codec.id), encoding, Packer.of(codec))
        packers = {codec.id.fingerprint: announced_packer(info)}
        value = latent_from_msg(through_bytes(message), packers)
        assert np.abs(value.mean - z).max() < 0.5
        decoded = codec.decode(np.stack([z, value.mean]))
        assert np.square(decoded[1] - decoded[0]).mean() < 1e-3


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'latent_dim': 3}, 'latent_mean has 2 elements, but latent_dim is 3'),
        ({'latent_std': [1.0, 0.0]}, 'not above 0'),
        ({'latent_std': [1.0]}, r'not \[2\] and \[1\]'),
        ({'latent_mean': [np.inf, 0.0]}, 'not finite'),
        ({'latent_mean': [], 'latent_std': [], 'latent_dim': 0}, 'mean and std'),
    ],
)
def test_model_info_with_invalid_statistics_is_a_value_error(fields, reason):
    valid = {'latent_dim': 2, 'latent_mean': [0.0, 0.0], 'latent_std': [1.0, 1.0]}
    announced_packer(sage.ModelInfo(**valid))
    with pytest.raises(ValueError, match=reason):
        announced_packer(sage.ModelInfo(**{**valid, **fields}))


def test_lists_of_maximum_length_round_trip():
    telemetry = Telemetry(energy_trajectory=(0.5,) * 256)
    long = np.ones(4096, np.float32)
    lct = replace(
        VALID,
        latent=Latent(long, -long, telemetry=telemetry),
        provenance=VALID.provenance * 16,
        signature=b's' * 64,
    )
    arrived = lct_from_msg(through_bytes(lct_to_msg(lct)))
    assert_same(arrived, replace(lct, digest=latent_digest(lct.latent)))


def test_empty_roi_is_none():
    latent = replace(VALID.latent, roi=None)
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
def test_enums_match_message_constants(values, message, prefix):
    constants = {
        name[len(prefix) :]: getattr(message, name)
        for name in dir(type(message))
        if name.startswith(prefix)
    }
    assert issubclass(values, enum.IntEnum)
    assert constants == {value.name: int(value) for value in values}
