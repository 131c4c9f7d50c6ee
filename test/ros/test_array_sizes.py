# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The sizes of LCT arrays equal those of the serialized messages."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sage_msgs.msg import Code, EncodedCrop, IrpTelemetry, LCTArray, ModelId, Snarc
from std_msgs.msg import Header

from sage_perception.ros.array_sizes import MAX_FORMS, ArraySizes

CODES = st.lists(st.binary(max_size=9), min_size=1, max_size=3)
ENERGIES = st.lists(st.lists(st.just(0.5), max_size=4), max_size=3)


def an_array(crops, energies=(), frame='lens', signature=b'', snarc=0, name=''):
    return LCTArray(
        header=Header(frame_id=frame),
        camera='cam0',
        models=[ModelId(name=name)] if name else [],
        crops=[EncodedCrop(codes=[Code(payload=array('B', c)) for c in codes]) for codes in crops],
        telemetry=[IrpTelemetry(energy_trajectory=array('f', each)) for each in energies],
        snarc=[Snarc()] * snarc,
        signature=array('B', signature),
    )


ARRAYS = st.builds(
    an_array,
    st.lists(CODES, max_size=3),
    ENERGIES,
    st.sampled_from(['', 'lens', 'Größe']),
    st.sampled_from([b'', bytes(64)]),
    st.integers(0, 2),
    st.sampled_from(['', 'abc']),
)


@given(st.lists(ARRAYS, min_size=2, max_size=8))
@settings(max_examples=60)
def test_sizes_are_those_of_the_serialized_messages(messages):
    sizes = ArraySizes()
    for message in messages:
        assert sizes.of(message) == len(serialize_message(message))


def test_arrays_of_one_form_are_serialized_once(monkeypatch):
    calls = []

    def serialize(message):
        calls.append(message)
        return serialize_message(message)

    monkeypatch.setattr('sage_perception.ros.array_sizes.serialize_message', serialize)
    sizes = ArraySizes()
    for length in range(40):
        message = an_array([[bytes(length)], [bytes(2 * length + 1)]], [[0.5] * (length % 5), []])
        assert sizes.of(message) == len(serialize_message(message))
    assert len(calls) == 1


def test_the_memory_for_forms_is_bounded():
    sizes = ArraySizes()
    for length in range(MAX_FORMS + 50):
        sizes.of(an_array([], frame='f' * length))
    assert len(sizes._fixed) <= MAX_FORMS
