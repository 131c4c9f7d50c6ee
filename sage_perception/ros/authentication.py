# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which messages and requests of other nodes a node uses.

A message is used if it comes from a node of the same process, which nothing outside can imitate,
or if it is signed. If signatures are not required, unsigned messages are used too, but their
stamps must agree with the clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from sage_perception.core.text import split_names
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.local_bus import ProcessId
from sage_perception.ros.message_form import MessageVerifier
from sage_perception.trust.security.rate_limit import PublisherRateLimiter
from sage_perception.trust.security.rejection import RejectionReason, explain
from sage_perception.trust.security.trust_store import TrustStore


class AuthenticatedInput:
    """A subscription whose messages are authenticated before `callback` is called with them.

    Parameters are those of `MessageVerifier` and `Endpoints.subscribe`; `store` and `entities` are
    called before the first message, and after `reset`. With `check_stamps`, messages of other
    processes whose stamp differs from the clock by more than the tolerance are rejected.

    A forged signature is as expensive to check as a valid one: messages of a publisher whose
    messages are rejected too often are dropped unread, see `PublisherRateLimiter`.
    """

    def __init__(
        self,
        node: Endpoints,
        topic: str,
        callback: Callable[[Any], None],
        store: Callable[[], TrustStore],
        required: bool,
        entities: Callable[[], Collection[str]] | None = None,
        check_stamps: bool = True,
        **options: Any,
    ) -> None:
        self.reasons: Counter[RejectionReason] = Counter()
        self._clock, self._callback = node.get_clock(), callback
        self._store, self._required, self._entities = store, required, entities
        self._check_stamps = check_stamps
        self._verifier: MessageVerifier | None = None
        self._limiter = PublisherRateLimiter()
        self.monitor: InputMonitor = node.subscribe(topic, self._receive, guard=self, **options)

    def admits(self, publisher: bytes) -> bool:
        """Return whether to deserialize a message of `publisher`."""
        admitted = isinstance(publisher, ProcessId) or self._limiter.admits(publisher)
        if not admitted:
            self.reasons[RejectionReason.RATE_LIMITED] += 1
            self.monitor.reject(explain(RejectionReason.RATE_LIMITED))
        return admitted

    def note_malformed(self, publisher: bytes) -> None:
        """Count a message that cannot be deserialized."""
        self._limiter.note(publisher, accepted=False)
        self.reasons[RejectionReason.MALFORMED] += 1

    def reset(self) -> None:
        """Use the present store and entities from the next message on."""
        self._verifier = None

    def reject(self, reason: str) -> None:
        """Count a message that cannot be used, see `InputMonitor.reject`."""
        self.monitor.reject(reason)

    def _receive(self, message: Any, publisher: bytes) -> None:
        if not isinstance(publisher, ProcessId):
            if self._verifier is None:
                entities = None if self._entities is None else self._entities()
                self._verifier = MessageVerifier(self._store(), self._required, entities)
            now_ns = self._clock.now().nanoseconds if self._check_stamps else None
            fault = self._verifier.find_fault(message, now_ns)
            self._limiter.note(publisher, accepted=fault is None)
            if fault is not None:
                self.reasons[fault] += 1
                self.monitor.reject(explain(fault, message.signature.entity_id))
                return
        self._callback(message)


class RequestGuard:
    """Refuses requests that no operator has signed, if a node requires signatures.

    `store` are the trusted keys; the node declares `REQUIRE_SIGNATURES` and `OPERATORS`.
    """

    def __init__(self, node: Endpoints, store: TrustStore) -> None:
        self._node = node
        self._required: bool = node.parameters.require_signatures
        self._operators = split_names(node.parameters.operators)
        self._verifier = MessageVerifier(store, self._required, self._operators)

    def require(self, request: Any, service: str) -> None:
        """Raise `ValueError` with the reason and the fix if a request to `service` is refused."""
        if not self._required:
            return
        full_name = self._node.resolve_service_name(service)
        fault = self._verifier.find_request_fault(request, full_name)
        if fault is not None:
            names = ', '.join(self._operators)
            raise ValueError(
                f'refused: {explain(fault, request.signature.entity_id)}; this node requires '
                f'signatures, so an operator ({names}) must sign the request: sage request --help'
            )
