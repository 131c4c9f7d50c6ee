# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An arbiter challenges an encoder over DDS, and judges the answer."""

import numpy as np
from sage_msgs.msg import ProbeChallenge

from sage_perception.cli import keys as keys_command
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros.message_form import sign_message
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key


def test_an_encoder_passes_the_challenges_of_an_arbiter(ros):
    arbiter = ros.make(
        ArbiterNode, '-p', 'cameras:=[cam0]', '-p', 'challenge_period_s:=1.0', name='arbiter'
    )
    ros.make(EncoderNode, name='encoder', namespace='cam0')
    state = arbiter._arbiter.state('cam0')
    ros.wait_for(lambda: state.challenges.passed, 'a passed challenge', timeout_s=60)
    assert state.challenges.trust > 0.99
    assert state.consistent


def test_flood_of_challenges_does_not_affect_those_of_a_trusted_arbiter(ros, tmp_path):
    assert keys_command.main(['create', 'cam0', 'arbiter', '--dir', str(tmp_path)]) == 0
    node = ros.make(EncoderNode, '-p', f'key:={tmp_path}', name='encoder', namespace='cam0')
    answered = []
    node._probes._publish_answer = lambda codec, identity, nonce: answered.append(nonce[0])
    arbiter = Identity('arbiter', load_key(tmp_path, 'arbiter'))
    forger = Identity('arbiter', load_key(tmp_path, 'cam0'))

    def challenge(number, identity=None, publisher=b'flood'):
        message = ProbeChallenge(nonce=np.full(32, number, np.uint8))
        if identity is not None:
            sign_message(message, identity)
        node._probes._answer(message, publisher)
        return message

    for number in range(50):
        challenge(number, forger if number % 2 else None)
    signed = challenge(100, arbiter)
    for _ in range(50):
        node._probes._answer(signed, b'flood')
    challenge(101, arbiter, b'trusted arbiter')
    challenge(102, publisher=b'arbiter without a trusted key')
    for number in range(20):
        challenge(number, publisher=b'many %d' % number)
    ros.wait_for(lambda: answered.count(5) or len(answered) > 12, 'the answers')
    assert answered[:7] == [0, 1, 2, 3, 100, 101, 102]
    assert len(answered) <= 7 + 2 + 4, 'the publishers after the fourth share one rate limit'
    read = sum(node._probes.admits(b'forger') for _ in range(2000))
    assert 0 < read < 500, 'a flood of forged signatures is dropped unread'
    assert node._probes.admits(b'arbiter without a trusted key')
    read = [node._probes.admits(b'%d' % number) for number in range(100) for _ in range(200)]
    assert not all(read[-100:]), 'publishers after the sixty-fourth share one limit'
    assert node._probes.admits(b'trusted arbiter'), 'which does not concern a trusted one'
