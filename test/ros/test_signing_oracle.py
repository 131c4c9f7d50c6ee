# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Forged crops and agreements are neither encoded nor signed; unsigned requests are refused."""

import itertools
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sage_msgs.msg import Agreement, AgreementArray, Crop, CropArray, LCTArray
from sage_msgs.srv import Forget
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception.cli import keys as keys_command
from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.memory import Query
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.nodes.memory_node import MemoryNode
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.conversions.trust import agreements_from_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.local_bus import ProcessId
from sage_perception.ros.message_form import sign_message
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key
from sage_perception.trust.security.rejection import RejectionReason

SAGE_REQUEST = 'import sys; from sage_perception.cli.request import main; sys.exit(main())'
REMOTE = b'gid of another process'


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keys_command.main(['create', 'cam0', 'arbiter', 'operator', '--dir', str(folder)]) == 0
    return folder


def crops(stamp_ns=None, seed=0):
    header = Header(stamp=stamp_to_msg(stamp_ns or time.time_ns()), frame_id='cam0')
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    image = Image(
        header=header, height=64, width=64, step=192, encoding='rgb8', data=pixels.tobytes()
    )
    roi = RegionOfInterest(x_offset=4, y_offset=4, width=64, height=64)
    return CropArray(
        header=header,
        source_width=640,
        source_height=480,
        crops=[Crop(roi=roi, score=0.5, track_id=1, image=image)],
        fault=CropArray.FAULT_NONE,
    )


class Publisher:
    """Stands for the publisher `lcts` and collects what the encoder signs."""

    uses_dds = True

    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)

    def get_subscription_count(self):
        return 1


@pytest.fixture
def encoder(ros, keys):
    node = ros.make(EncoderNode, namespace='cam0', key=keys, require_signatures='true')
    node._lcts = node._configured.output._publisher = Publisher()
    return node


def test_no_forged_crops_are_signed(encoder, keys):
    key = load_key(keys, 'cam0')
    forged = [crops(seed=n) for n in range(120)]
    for n, message in enumerate(forged):
        if n % 3 == 1:
            sign_message(message, Identity('cam0', load_key(keys, 'arbiter')))
        elif n % 3 == 2:  # a signature of other crops
            message.signature = sign_message(crops(seed=n + 1), Identity('cam0', key)).signature
        encoder._crops._receive(message, REMOTE)
    assert encoder._lcts.sent == []
    assert encoder._crops.reasons.total() == 120
    encoder._crops._receive(sign_message(crops(), Identity('cam0', key)), REMOTE)
    (array,) = encoder._lcts.sent
    assert isinstance(array, LCTArray)
    assert len(array.crops) == 1
    assert len(array.signature) == 64


def test_forgeries_are_dropped_unread_beyond_a_rate(encoder, keys):
    for _ in range(200):
        if encoder._crops.admits(REMOTE):
            encoder._crops._receive(crops(), REMOTE)
    verified = encoder._crops.reasons[RejectionReason.UNSIGNED]
    assert verified < 130, 'a burst, and what the bucket gains meanwhile'
    assert encoder._crops.reasons[RejectionReason.RATE_LIMITED] == 200 - verified
    encoder._crops.note_malformed(REMOTE)
    assert not encoder._crops.admits(REMOTE)
    assert encoder._crops.admits(ProcessId(b'x')), 'the same process is exempt'


def test_an_accepted_publisher_is_not_limited_by_the_forgeries_of_others(encoder, keys):
    honest, identity = b'gid of attention', Identity('cam0', load_key(keys, 'cam0'))
    encoder._crops._receive(sign_message(crops(), identity), honest)
    for _ in range(150):
        encoder._crops._receive(crops(), REMOTE)
    assert not encoder._crops.admits(REMOTE)
    assert encoder._crops.admits(honest)
    encoder._crops._receive(sign_message(crops(), identity), honest)
    assert len(encoder._lcts.sent) == 2


def test_crops_of_the_same_process_need_no_signature(encoder):
    encoder._crops._receive(crops(), ProcessId(b'x'))
    assert len(encoder._lcts.sent) == 1


def test_encoder_with_a_key_encodes_unsigned_crops_unless_it_requires_signatures(ros, keys):
    node = ros.make(EncoderNode, namespace='cam0', key=keys)
    node._lcts = node._configured.output._publisher = Publisher()
    node._crops._receive(crops(), REMOTE)
    (array,) = node._lcts.sent
    assert len(array.signature) == 64
    forged = sign_message(crops(), Identity('cam0', load_key(keys, 'arbiter')))
    node._crops._receive(forged, REMOTE)
    assert len(node._lcts.sent) == 1, 'a signature that is given must be valid'


def test_encoder_that_requires_signatures_needs_a_key(ros):
    with pytest.raises(ConfigurationError, match="set the parameter 'key' too"):
        ros.make(EncoderNode, namespace='cam0', require_signatures='true')


def test_attention_signs_its_crops_and_tells_where_signing_begins(ros, keys):
    node = ros.make(AttentionNode, namespace='cam0', key=keys)
    node._crops = Publisher()
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    header = Header(stamp=stamp_to_msg(time.time_ns()), frame_id='cam0')
    image = Image(
        header=header, height=120, width=160, step=480, encoding='bgr8', data=pixels.tobytes()
    )
    node._attend(image)
    (array,) = node._crops.sent
    assert array.signature.entity_id == 'cam0'
    assert len(array.signature.signature) == 64
    assert node._report()[2]['signing'] == 'begins here: images are not authenticated'


@pytest.mark.parametrize('similarity', [1e30, -1.5, float('nan'), float('inf')])
def test_similarities_out_of_range_are_rejected(similarity):
    message = AgreementArray(agreements=[Agreement(similarity=similarity)])
    with pytest.raises(ValueError, match=r'it must be in \[-1, 1\]'):
        agreements_from_msg(message)


@pytest.fixture
def memory(ros, keys, tmp_path):
    store = tmp_path / 'memory.db'
    return ros.make(MemoryNode, keys=keys, require_signatures='true', store=store)


def test_memory_forgets_only_what_an_operator_signs(memory, keys):
    def ask(request):
        return memory._memory_services._forget(request, Forget.Response())

    def sign(request, identity, service=''):
        return sign_message(request, identity, service or memory.resolve_service_name('~/forget'))

    request = Forget.Request(until=Time(sec=2**31 - 1))
    refused = ask(request)
    assert not refused.success
    assert 'refused: missing signature' in refused.message
    assert 'sage request' in refused.message
    camera = Identity('cam0', load_key(keys, 'cam0'))
    assert 'wrong entity' in ask(sign(Forget.Request(entity_id='x'), camera)).message
    operator = Identity('operator', load_key(keys, 'operator'))
    elsewhere = sign(Forget.Request(entity_id='x'), operator, '/robot2/memory/forget')
    assert 'invalid signature' in ask(elsewhere).message
    assert ask(sign(request, operator)).success
    assert 'replayed' in ask(request).message


def test_operator_sends_requests(keys, memory):
    def run(*arguments):
        command = [sys.executable, '-c', SAGE_REQUEST, 'forget', '/under_test', *arguments]
        return subprocess.run([*command, '--dir', str(keys)], capture_output=True, text=True)

    assert run('--entity', 'cam0').stdout == '0 records deleted\n'
    assert 'wrong entity' in run('--entity', 'cam0', '--operator', 'cam0').stderr


def test_operator_has_the_next_lct_of_a_topic_stored(ros, keys, memory):
    publisher = ros.node.create_publisher(LCTArray, 'seen', 10)
    numbers = itertools.count(time.time_ns())

    def publish():
        model = memory._space.model
        latent = Latent(np.float32(memory._space.mean), model=model, track_id=7)
        lct = LCT.encoded(
            latent, entity_id='cam0', sequence=next(numbers), stamp_ns=time.time_ns()
        )
        message = lct_to_msg(lct, key=load_key(keys, 'cam0'))
        publisher.publish(LCTArray(lcts=[message]))

    timer = ros.node.create_timer(0.1, publish)
    command = [sys.executable, '-c', SAGE_REQUEST, 'remember', '/under_test', '--topic', '/seen']
    run = partial(subprocess.run, capture_output=True, text=True)
    done = run([*command, '--track', '7', '--dir', str(keys)])
    ros.destroy(timer)
    assert done.stdout == 'stored: cam0, track 7\n', done.stderr
    assert len(memory._session.find(Query(count=5))) == 1
    done = run([*command, '--timeout', '0.2', '--dir', str(keys)])
    assert done.stderr.startswith('sage request: no LCT on /seen within 0.2 s')


def test_parameters_of_a_node_that_requires_signatures_are_read_only(memory):
    (result,) = memory.set_parameters([Parameter('threshold', value=0.0)])
    assert not result.successful
    assert 'requires signatures' in result.reason
    assert memory.parameters.threshold == 0.7


def test_unsigned_agreements_are_rejected(memory, keys):
    header = Header(stamp=stamp_to_msg(time.time_ns()))
    message = AgreementArray(header=header, agreements=[Agreement(similarity=0.9)])
    memory._agreements._receive(message, REMOTE)
    assert memory._agreements.reasons.total() == 1
    signed = sign_message(message, Identity('arbiter', load_key(keys, 'arbiter')))
    memory._agreements._receive(signed, REMOTE)
    assert memory._agreements.reasons.total() == 1
