# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Replay protection under a stolen key and under changes of the clock."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from signed_lcts import an_lct

from sage_perception.trust import TrustStore, sign
from sage_perception.trust.security.admission import AdmissionFilter
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import CLOCK_MARGIN_NS, ReplayGuard
from sage_perception.trust.security.sequence import SequenceCounter

SECOND = 10**9
HOUR = 3600 * SECOND
FRAME = SECOND // 30
FIRST, SECOND_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (7, 8))


class Network:
    """An entity and a receiver, each with a clock, and the trust store of the receiver."""

    def __init__(self, path=None):
        self.sender_ns = self.receiver_ns = 1_800_000_000 * SECOND
        self.path, self.key, self.store = path, FIRST, TrustStore()
        self.store.trust('cam0', public_bytes(FIRST))
        guard = ReplayGuard(lambda: self.receiver_ns)
        self.admission = AdmissionFilter(self.store, replay_guard=guard)
        self.restart()

    def restart(self):
        self.counter = SequenceCounter(self.path, lambda: self.sender_ns)

    def rotate(self):
        self.key = SECOND_KEY
        self.store.trust('cam0', public_bytes(SECOND_KEY))
        self.store.revoke('cam0', public_bytes(FIRST))

    def pass_time(self, ns):
        self.sender_ns += ns
        self.receiver_ns += ns

    def send(self, sequence=None, key=None):
        """Send an LCT; return it, and the reason if it is rejected."""
        number = self.counter.next() if sequence is None else sequence
        lct = sign(an_lct(sequence=number, stamp_ns=self.sender_ns), key or self.key)
        return lct, self.admission.admit(lct, now_ns=self.receiver_ns).reason

    def accepted(self, frames):
        """Return how many of so many frames at 30 Hz are accepted."""
        count = 0
        for _ in range(frames):
            self.pass_time(FRAME)
            count += self.send()[1] is None
        return count


@pytest.mark.parametrize('sequence', [2**64 - 1, 2**63, 1_900_000_000 * SECOND])
def test_rotation_ends_the_effect_of_a_stolen_key(sequence):
    network = Network()
    assert network.accepted(30) == 30
    assert network.send(sequence, FIRST)[1] is None, 'the key is trusted'
    network.rotate()
    network.restart()
    assert network.accepted(2000) == 2000


def test_rotation_under_which_both_keys_are_valid_has_separate_sequences():
    network = Network()
    assert network.accepted(30) == 30
    network.store.trust('cam0', public_bytes(SECOND_KEY))
    assert network.send(2**64 - 1, FIRST)[1] is None
    network.key = SECOND_KEY
    assert network.accepted(300) == 300
    recorded, reason = network.send()
    assert reason is None
    network.pass_time(60 * SECOND)  # the sequence of the first key is no longer ahead
    older = sign(an_lct(sequence=recorded.sequence - 1, stamp_ns=network.sender_ns), SECOND_KEY)
    assert network.admission.admit(older).reason is RejectionReason.REPLAYED


@pytest.mark.parametrize('sequence', [2**64 - 1, 1_800_000_030 * SECOND])
def test_a_stolen_key_silences_the_entity_for_seconds_only(sequence):
    network = Network()
    assert network.accepted(300) == 300
    assert network.send(sequence)[1] is None
    lost = 2000 - network.accepted(2000)
    assert lost <= CLOCK_MARGIN_NS / FRAME + 1
    assert network.accepted(300) == 300


@pytest.mark.parametrize('restarted', [False, True])
@pytest.mark.parametrize('hours', [-1, 1])
def test_clock_of_a_robot_that_is_set_by_an_hour_silences_no_entity(tmp_path, hours, restarted):
    network = Network(tmp_path / 'cam0.sequence')
    assert network.accepted(300) == 300
    network.pass_time(hours * HOUR)
    if restarted:
        network.restart()
    assert network.accepted(300) == 300
    network.pass_time(-hours * HOUR)  # and corrected
    if restarted:
        network.restart()
    assert network.accepted(300) == 300


@pytest.mark.parametrize('durable', [False, True])
@pytest.mark.parametrize('restarted', [False, True])
@pytest.mark.parametrize('hours', [-1, 1])
def test_clock_of_a_sender_that_is_corrected_silences_it_no_longer(
    tmp_path, hours, restarted, durable
):
    network = Network(tmp_path / 'cam0.sequence' if durable else None)
    assert network.accepted(300) == 300
    network.sender_ns += hours * HOUR
    if restarted:
        network.restart()
    assert network.accepted(30) == 0, 'their stamps are outside the tolerance'
    network.sender_ns -= hours * HOUR
    if restarted:
        network.restart()
    assert network.accepted(300) == 300


def test_an_lct_ahead_of_the_time_is_not_accepted_twice():
    network = Network()
    network.accepted(30)
    ahead = [network.send(2**64 - 100 + n)[0] for n in range(3)]
    for lct in ahead:
        reason = network.admission.admit(lct, now_ns=network.receiver_ns).reason
        assert reason is RejectionReason.REPLAYED
    network.pass_time(60 * SECOND)
    network.admission._replay_guard._ids.clear()
    for lct in ahead:
        reason = network.admission.admit(lct, now_ns=network.receiver_ns).reason
        assert reason is RejectionReason.STAMP


def test_recorded_lcts_stay_rejected():
    network = Network()
    recorded = []
    for _ in range(50):
        network.pass_time(FRAME)
        recorded.append(network.send()[0])
    network.admission._replay_guard._ids.clear()
    reasons = {network.admission.admit(lct).reason for lct in recorded}
    assert reasons == {RejectionReason.REPLAYED}
