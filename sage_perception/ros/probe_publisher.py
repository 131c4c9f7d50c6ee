# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the latents of the probe images, and answers challenges to encode new images."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from builtin_interfaces.msg import Time
from sage_msgs.msg import ProbeChallenge

from sage_perception.models import Codec
from sage_perception.ros.background import Worker
from sage_perception.ros.conversions.announcements import probe_answer_to_msg, probe_set_to_msg
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.message_form import MessageVerifier
from sage_perception.trust.compatibility.challenge_images import challenge_latents
from sage_perception.trust.compatibility.probe_set import probe_latents
from sage_perception.trust.security.announcements import (
    MAX_PROBE_DIMENSIONS,
    ProbeAnswer,
    ProbeSet,
)
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.rate_limit import (
    PublisherQuota,
    PublisherRateLimiter,
    TokenBucket,
)
from sage_perception.trust.security.trust_store import TrustStore

# Challenges of a sender that are answered, which takes half a second each: per second, and in a
# burst.
CHALLENGE_RATE_HZ = 0.1
CHALLENGE_BURST = 4.0
# An arbiter challenges once a minute on average.
UNKNOWN_RATE_HZ = 0.05
MAX_UNKNOWN = 4


class ProbePublisher:
    """The topics `probe_latents`, `probe_challenge` and `probe_answers` of a node with a model.

    Each trusted entity that signs its challenges has its own rate limit, so that a flood does not
    affect it. The first `MAX_UNKNOWN` other publishers have one each, so that an arbiter without a
    trusted key is answered beside a flood; all further ones share one. The model encodes in a
    worker thread. `close` must be called before the node is destroyed.

    A forged signature is as expensive to check as a valid one, so challenges of a publisher that
    sends more than `TokenBucket.RATE` per second are dropped unread. Publishers of trusted
    entities are limited by their rejected challenges only, however many others there are.
    """

    def __init__(self, node: Endpoints) -> None:
        self._node = node
        self._worker = Worker(node, 'probes')
        self._sender: tuple[Codec, Identity] | None = None
        self._verifier = MessageVerifier(TrustStore(), required=True)
        self._tokens: defaultdict[str, TokenBucket] = defaultdict(
            partial(TokenBucket, rate=CHALLENGE_RATE_HZ, burst=CHALLENGE_BURST)
        )
        self._unknown = PublisherQuota(
            rate=UNKNOWN_RATE_HZ, burst=CHALLENGE_BURST, max_publishers=MAX_UNKNOWN
        )
        self._trusted = PublisherRateLimiter()
        self._others = PublisherQuota(rate=TokenBucket.RATE, burst=TokenBucket.BURST)
        self._probes = node.publisher('probe_latents')
        self._answers = node.publisher('probe_answers')
        node.subscribe('probe_challenge', self._answer, timeout_s=0, guard=self)

    def admits(self, publisher: bytes) -> bool:
        """Return whether to read a challenge of `publisher`; `_answer` limits the answers."""
        if self._trusted.has_accepted(publisher):
            return self._trusted.admits(publisher)
        return self._others.admits(publisher)

    def note_malformed(self, publisher: bytes) -> None:
        """Do nothing: a challenge that cannot be deserialized costs no answer."""

    def start(self, codec: Codec, identity: Identity, keys: TrustStore) -> None:
        """Publish the latents of a model's probe images, and answer challenges from now on.

        `keys` are those of the entities with a rate limit of their own.
        """
        self._sender = codec, identity
        self._verifier = MessageVerifier(keys, required=True)
        self._worker.submit(partial(self._publish_probes, codec, identity))

    def stop(self) -> None:
        """Answer no more challenges."""
        self._sender = None

    def close(self) -> None:
        """Wait for the work in progress, and cancel the rest."""
        self._worker.close()

    def _publish_probes(self, codec: Codec, identity: Identity) -> None:
        if codec.latent_dim > MAX_PROBE_DIMENSIONS:
            raise ValueError(
                f'latents of {codec.id} have {codec.latent_dim} dimensions, a probe set holds '
                f'at most {MAX_PROBE_DIMENSIONS}: its compatibility cannot be measured'
            )
        probes = ProbeSet(
            identity.entity_id, identity.next_sequence(), codec.id, probe_latents(codec)
        )
        message = probe_set_to_msg(probes, self._now(), identity.key)
        if self._sender == (codec, identity):
            self._probes.publish(message)

    def _answer(self, message: ProbeChallenge, publisher: bytes) -> None:
        """Schedule the answer to a challenge; challenges beyond the rate limit are dropped.

        Anyone may challenge: the answer is about the model, which is announced anyway.
        """
        if self._sender is None:
            return
        if not self._affords(message, publisher):
            return
        self._worker.submit(partial(self._publish_answer, *self._sender, bytes(message.nonce)))

    def _affords(self, message: ProbeChallenge, publisher: bytes) -> bool:
        """Return whether a challenge is within the rate limit of its sender."""
        fault = self._verifier.find_fault(message, None)
        self._trusted.note(publisher, accepted=fault is None)
        if fault is not None:
            return self._unknown.admits(publisher)
        tokens = self._tokens[message.signature.entity_id]
        if tokens.empty:
            return False
        tokens.take()
        return True

    def _publish_answer(self, codec: Codec, identity: Identity, nonce: bytes) -> None:
        if codec.latent_dim > MAX_PROBE_DIMENSIONS:
            return
        latents = challenge_latents(codec, nonce)
        answer = ProbeAnswer(
            identity.entity_id, identity.next_sequence(), codec.id, latents, nonce
        )
        message = probe_answer_to_msg(answer, self._now(), identity.key)
        if self._sender == (codec, identity):
            self._answers.publish(message)

    def _now(self) -> Time:
        return self._node.get_clock().now().to_msg()
