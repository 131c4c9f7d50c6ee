# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signed ROS messages and requests: every field is covered, and nothing else is needed."""

import copy
import importlib
import pkgutil
import time
from array import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import (
    Agreement,
    AgreementArray,
    Crop,
    CropArray,
    HContext,
    Signature,
    Snarc,
    SnarcArray,
    SnarcScore,
    TrustReport,
)
from sage_msgs.srv import Align, Forget, Remember
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception import nodes
from sage_perception.ros.message_form import (
    REQUEST_TOLERANCE_NS,
    MessageVerifier,
    message_form,
    sign_message,
)
from sage_perception.trust import TrustStore
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.verification import TOLERANCE_NS

SECOND = 10**9
NOW = 1_800_000_000 * SECOND
KEY, OTHER, FORGED = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
HEADER = Header(stamp=Time(sec=NOW // SECOND), frame_id='cam0_optical_frame')
IMAGE = Image(
    header=HEADER, height=2, width=2, step=6, encoding='rgb8', data=array('B', range(12))
)
MESSAGES = {
    'crops': CropArray(
        header=HEADER, source_width=640, source_height=480, crops=[Crop(image=IMAGE, track_id=3)]
    ),
    'agreement': AgreementArray(
        header=HEADER, entity_a='cam0', agreements=[Agreement(similarity=0.8)]
    ),
    'snarc': SnarcArray(header=HEADER, scores=[SnarcScore(snarc=Snarc(surprise=0.3))]),
    'trust_report': TrustReport(header=HEADER, entity_b='cam0', forward=float('nan')),
    'h_context': HContext(header=HEADER, cameras=['cam0', ''], layout=1),
}


def store(**keys):
    found = TrustStore()
    for entity, key in (keys or {'cam0': KEY, 'arbiter': OTHER}).items():
        found.trust(entity, public_bytes(key))
    return found


SERVICE = '/memory/forget'


def signed(message, entity='cam0', key=KEY, start=None, service=''):
    return sign_message(copy.deepcopy(message), Identity(entity, key, start), service)


def leaves(message, path=()):
    """Yield the paths of all values of a message except the signature itself."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, 'get_fields_and_field_types'):
            yield from leaves(value, (*path, name))
        elif isinstance(value, list) and value and hasattr(value[0], 'get_fields_and_field_types'):
            yield from leaves(value[0], (*path, name, 0))
            yield (*path, name)
        elif isinstance(value, list) and '/' in kind:
            continue  # empty
        elif not (isinstance(message, Signature) and name == 'signature'):
            yield (*path, name)


def change(message, path):
    """Change one value of a message."""
    *place, name = path
    for step in place:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    value = getattr(message, name)
    if isinstance(value, bool):
        changed = not value
    elif isinstance(value, (int, float)):
        changed = type(value)(7) if value != 7 else type(value)(6)
    elif isinstance(value, str):
        changed = value + 'x'
    elif isinstance(value, np.ndarray):
        changed = value.copy()
        changed[0] = 1 if changed[0] != 1 else 2
    elif isinstance(value, array):
        changed = array(value.typecode, [*value, 1])
    else:
        changed = value[:-1] if value else [*value, 'x']
    setattr(message, name, changed)


@pytest.mark.parametrize('message', MESSAGES.values(), ids=MESSAGES)
def test_a_signed_message_is_accepted_after_its_transport(message):
    sent = signed(message)
    received = deserialize_message(serialize_message(sent), type(sent))
    assert MessageVerifier(store(), True).find_fault(received, NOW) is None
    assert len(sent.signature.signature) == 64


@pytest.mark.parametrize('message', MESSAGES.values(), ids=MESSAGES)
def test_every_field_is_covered(message):
    sent = signed(message)
    paths = list(leaves(sent))
    assert len(paths) > 6
    for path in paths:
        forged = copy.deepcopy(sent)
        change(forged, path)
        reason = MessageVerifier(store(), True).find_fault(forged, None)
        assert reason in (RejectionReason.BAD_SIGNATURE, RejectionReason.UNKNOWN_KEY), path


@pytest.mark.parametrize('message', MESSAGES.values(), ids=MESSAGES)
def test_without_a_key_nothing_passes_if_signatures_are_required(message):
    verifier = MessageVerifier(store(), True)
    assert verifier.find_fault(message, NOW) is RejectionReason.UNSIGNED
    assert verifier.find_fault(signed(message, key=FORGED), NOW) is RejectionReason.BAD_SIGNATURE
    unknown = signed(message, 'unknown', FORGED)
    assert verifier.find_fault(unknown, NOW) is RejectionReason.UNKNOWN_KEY
    moved = signed(message)
    moved.signature.entity_id = 'arbiter'
    assert verifier.find_fault(moved, NOW) is RejectionReason.BAD_SIGNATURE


def test_a_message_is_accepted_once_and_only_near_its_stamp():
    verifier, message = MessageVerifier(store(), True), MESSAGES['agreement']
    late = NOW + TOLERANCE_NS + 1
    sent = signed(message)
    assert verifier.find_fault(sent, late) is RejectionReason.STAMP
    assert verifier.find_fault(sent, NOW) is None
    assert verifier.find_fault(sent, NOW) is RejectionReason.REPLAYED
    assert verifier.find_fault(signed(message), NOW) is None
    assert verifier.find_fault(signed(message, start=5), NOW) is RejectionReason.REPLAYED
    assert verifier.find_fault(signed(message, 'arbiter', OTHER), NOW) is None


def test_a_signature_is_of_one_type():
    request = signed(Forget.Request(entity_id='cam0'))
    assert message_form(request) != message_form(Align.Request(entity_a='cam0'))


def test_only_the_named_entities_may_sign():
    verifier, message = MessageVerifier(store(), False, ['cam0']), MESSAGES['crops']
    assert verifier.find_fault(signed(message, 'arbiter', OTHER), NOW) is (
        RejectionReason.WRONG_ENTITY
    )
    assert verifier.find_fault(signed(message, key=FORGED), NOW) is RejectionReason.BAD_SIGNATURE
    assert verifier.find_fault(signed(message), NOW) is None
    assert verifier.find_fault(message, NOW) is None, 'signatures are not required'


def test_unsigned_messages_pass_if_signatures_are_not_required_and_their_stamp_is_recent():
    verifier, message = MessageVerifier(TrustStore(), False), MESSAGES['snarc']
    assert verifier.find_fault(message, NOW) is None
    assert verifier.find_fault(message, NOW - 6 * SECOND) is RejectionReason.STAMP


@pytest.mark.parametrize(
    'request_', [Forget.Request(entity_id='cam0'), Remember.Request(), Align.Request()]
)
def test_requests_are_signed_recent_and_served_once(request_):
    operators = {'operator': KEY, 'cam0': OTHER}
    now = [time.time_ns()]
    verifier = MessageVerifier(store(**operators), True, ['operator'], lambda: now[0])

    def find(request):
        return verifier.find_request_fault(request, SERVICE)

    def by(entity, key, request=request_, service=SERVICE):
        return signed(request, entity, key, service=service)

    assert find(request_) is RejectionReason.UNSIGNED
    assert find(by('cam0', OTHER)) is RejectionReason.WRONG_ENTITY
    assert find(by('operator', FORGED)) is RejectionReason.BAD_SIGNATURE
    for service in ('', '/robot2/memory/forget'):
        other = by('operator', KEY, service=service)
        assert find(other) is RejectionReason.BAD_SIGNATURE, 'a request to another node'
    good, later = by('operator', KEY), by('operator', KEY)
    assert find(good) is None
    assert find(good) is RejectionReason.REPLAYED
    early = signed(request_, 'operator', KEY, now[0] + 20 * SECOND, SERVICE)
    assert find(early) is RejectionReason.STAMP, 'its replay would not be noticed'
    now[0] += 2 * REQUEST_TOLERANCE_NS
    assert find(later) is RejectionReason.STAMP
    bad = by('operator', KEY, Forget.Request(entity_id='cam1'))
    bad.entity_id = 'cam0'
    now[0] = time.time_ns()
    assert find(bad) is RejectionReason.BAD_SIGNATURE


def test_a_signature_covers_the_kind_of_its_message():
    # The fields of empty messages of several kinds are the same bytes.
    kinds = [type(message) for message in MESSAGES.values()]
    kinds += [Align.Request, Forget.Request, Remember.Request]
    assert len({message_form(kind()) for kind in kinds}) == len(kinds)


def test_each_signed_kind_of_message_is_that_of_one_topic():
    """Because the kind is covered, a message cannot be moved to another topic."""
    topics = {}
    for module in pkgutil.iter_modules(nodes.__path__, f'{nodes.__name__}.'):
        for node in vars(importlib.import_module(module.name)).values():
            for topic in (*getattr(node, 'SUBSCRIBES', ()), *getattr(node, 'PUBLISHES', ())):
                # Types of Python alone, such as TFMessage, describe no fields.
                described = getattr(topic.type, 'get_fields_and_field_types', dict)
                if 'sage_msgs/Signature' in described().values():
                    topics.setdefault(topic.type.__name__, set()).add(topic.name.split('/')[-1])
    # Residuals are not signed, and nodes that require signatures do not use them.
    assert topics.pop('CropArray') == {'crops', 'residuals'}
    # Targets are not signed either, and attention reads only the scores.
    assert topics.pop('TrackScores') == {'target', 'track_scores'}
    assert {'AgreementArray', 'SnarcArray', 'HContext', 'TrustReport'} <= set(topics)
    assert all(len(names) == 1 for names in topics.values()), topics
