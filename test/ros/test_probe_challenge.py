# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An arbiter challenges an encoder over DDS, and judges the answer."""

from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.encoder_node import EncoderNode


def test_an_encoder_passes_the_challenges_of_an_arbiter(ros):
    arbiter = ros.make(
        ArbiterNode, '-p', 'cameras:=[cam0]', '-p', 'challenge_period_s:=1.0', name='arbiter'
    )
    ros.make(EncoderNode, name='encoder', namespace='cam0')
    state = arbiter._arbiter.state('cam0')
    ros.wait_for(lambda: state.challenges.passed, 'a passed challenge', timeout_s=60)
    assert state.challenges.trust > 0.99
    assert state.consistent
