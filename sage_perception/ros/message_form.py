# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The canonical bytes of a signed ROS message, and its signing and verification.

CDR is not canonical, since its padding is undefined. The form of a message is its type name and
its fields in order: numbers little-endian, text and sequences preceded by their number of bytes or
elements, nested messages field by field. The bytes of the signature itself are left out; its
entity and sequence are covered. The name of the service precedes the fields of a request, so that
it cannot be sent to another node. The signature covers the SHA-256 of the form after a tag.

>>> sign_message(message, identity)
>>> reason = MessageVerifier(store, required=True).find_fault(message, now_ns)
"""

from __future__ import annotations

import copy
import hashlib
import math
import struct
import time
from array import array
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import numpy as np
from sage_msgs.msg import LCTArray, Signature

from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.limits import SIGNATURE_BYTES
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import CLOCK_MARGIN_NS, ReplayGuard
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.trust.security.verification import TOLERANCE_NS, verify_form

TAG = b'sage.Message\x01'
SIGNATURE_TYPE = 'sage_msgs/Signature'
REQUEST_TOLERANCE_NS = 30_000_000_000
"""Age of a signed request, by its sequence, up to which it is served."""

_NUMBERS = {
    'boolean': '?',
    'octet': 'B',
    'byte': 'B',
    'uint8': 'B',
    'int8': 'b',
    'uint16': 'H',
    'int16': 'h',
    'uint32': 'I',
    'int32': 'i',
    'uint64': 'Q',
    'int64': 'q',
    'float': 'f',
    'double': 'd',
}
_LENGTH = struct.Struct('<I')
Write = Callable[[Any, list[bytes]], None]


def message_form(message: Any, service: str = '') -> bytes:
    """Return the bytes that the signature of a message covers.

    `service` is the full name of the service if the message is a request. Raises
    `ValueError` for a value that its field cannot hold.
    """
    return TAG + message_digest(message, service)


def message_digest(message: Any, service: str = '') -> bytes:
    """Return the SHA-256 of the canonical form of a message; arguments as in `message_form`."""
    package = type(message).__module__.partition('.')[0]
    parts: list[bytes] = [f'{package}/{type(message).__name__}\0'.encode()]
    try:
        if service:
            _write_text(service, parts)
        _write_message(message, parts)
    except (struct.error, OverflowError, UnicodeError) as error:
        raise ValueError(f'{type(message).__name__} has no canonical form: {error}') from error
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _write_message(message: Any, parts: list[bytes]) -> None:
    kind: type = type(message)
    for name, write in _plan(kind):
        write(getattr(message, name), parts)


@cache
def _plan(kind: type) -> tuple[tuple[str, Write], ...]:
    """Return the fields of a message type, and the functions that write them."""
    fields: dict[str, str] = kind.get_fields_and_field_types()  # type: ignore[attr-defined]
    return tuple((name, _writer(field)) for name, field in fields.items())


def _writer(field: str) -> Write:
    element, is_list = field, False
    if field.startswith('sequence<'):
        element, is_list = field[len('sequence<') : -1].partition(',')[0], True
    elif field.endswith(']'):
        element, is_list = field.partition('[')[0], True
    if element in _NUMBERS:
        return _numbers_writer(_NUMBERS[element]) if is_list else _number_writer(element)
    one: Write = _write_message
    if element.startswith(('string', 'wstring')):
        one = _write_text
    elif element == SIGNATURE_TYPE:
        one = _write_signer
    if not is_list:
        return one

    def write(values: Any, parts: list[bytes]) -> None:
        parts.append(_LENGTH.pack(len(values)))
        for value in values:
            one(value, parts)

    return write


def _number_writer(element: str) -> Write:
    packer = struct.Struct('<' + _NUMBERS[element])
    if element not in ('float', 'double'):
        return lambda value, parts: parts.append(packer.pack(value))
    # Every NaN is the same one: float32 has 2²⁴ of them.
    return lambda value, parts: parts.append(packer.pack(value if value == value else math.nan))


def _numbers_writer(code: str) -> Write:
    dtype = np.dtype('<' + code if code != '?' else '?')

    def write(values: Any, parts: list[bytes]) -> None:
        data = np.asarray(values, dtype).tobytes()
        parts.append(_LENGTH.pack(len(values)))
        parts.append(data)

    return write


def _write_text(text: str, parts: list[bytes]) -> None:
    data = text.encode()
    parts.append(_LENGTH.pack(len(data)))
    parts.append(data)


def _write_signer(signature: Any, parts: list[bytes]) -> None:
    _write_text(signature.entity_id, parts)
    parts.append(struct.pack('<Q', signature.sequence))


def sign_message(message: Any, identity: Identity, service: str = '') -> Any:
    """Sign a message that has a field `signature`, if the entity has a key; return the message.

    `service` is the full name of the service if the message is a request. Raises
    `ValueError` for a value that its field cannot hold.
    """
    if identity.key is not None:
        message.signature.entity_id = identity.entity_id
        message.signature.sequence = identity.next_sequence()
        message.signature.signature = array('B', identity.key.sign(message_form(message, service)))
    return message


def sign_relay(array_: LCTArray, identity: Identity, topic: str) -> LCTArray:
    """Return an array of LCTs with the signature of the node that relays it, if it has a key.

    `topic` is the full name of the topic that it is published on, which the signature covers. The
    given message is not changed.
    """
    if identity.key is None:
        return array_
    relayed = copy.copy(array_)
    relay = Signature(entity_id=identity.entity_id)
    relayed.relay = [relay]
    relay.signature = array('B', identity.key.sign(message_form(relayed, topic)))
    return relayed


def find_relay_fault(
    array_: LCTArray, store: TrustStore, entity: str, topic: str
) -> RejectionReason | None:
    """Return the reason for rejecting an array on `topic` that `entity` must relay, or None.

    Its sequence is not used: the LCTs have their own.
    """
    if not array_.relay:
        return RejectionReason.NOT_RELAYED
    relay = array_.relay[0]
    if relay.entity_id != entity:
        return RejectionReason.WRONG_RELAY
    keys = store.keys_of(entity)
    if not keys:
        return RejectionReason.UNKNOWN_KEY
    return verify_form(bytes(relay.signature), lambda: message_form(array_, topic), keys).fault


class MessageVerifier:
    """Verifies the signed messages of one topic, or the signed requests of one service.

    Parameters
    ----------
    store : TrustStore
        The trusted keys.
    required : bool
        Reject messages without a valid signature. Otherwise, unsigned ones are accepted, and those
        of entities without a key in the store; a signature of another entity must be valid.
    entities : collection of str, optional
        The entities that may sign; None: all in the store.

    """

    def __init__(
        self,
        store: TrustStore,
        required: bool,
        entities: Collection[str] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store, self._required, self._entities = store, required, entities
        self._guard = ReplayGuard(clock)
        self._clock = clock
        self._started_ns = clock()

    def find_fault(self, message: Any, now_ns: int | None) -> RejectionReason | None:
        """Return the reason for rejecting a message with a header, or None.

        With `now_ns`, the time of the graph, its stamp must agree with it, also without a
        signature.
        """
        if (
            now_ns is not None
            and abs(now_ns - stamp_from_msg(message.header.stamp)) > TOLERANCE_NS
        ):
            return RejectionReason.STAMP
        return self._check(message)

    def find_request_fault(self, request: Any, service: str) -> RejectionReason | None:
        """Return the reason for refusing a request to `service`, its full name, or None.

        A request has no stamp: its sequence, which follows the clock of the system, must be
        recent. A request that is older than this object may have been served before a restart.
        """
        signature = request.signature
        now_ns = self._clock()
        if now_ns < self._started_ns:  # the clock has been set back
            self._started_ns = 0
        oldest_ns = max(now_ns - REQUEST_TOLERANCE_NS, self._started_ns)
        # The guard does not remember a sequence that is further ahead of the time.
        recent = oldest_ns <= signature.sequence <= now_ns + CLOCK_MARGIN_NS
        if signature.entity_id and not recent:
            return RejectionReason.STAMP
        return self._check(request, service)

    def _check(self, message: Any, service: str = '') -> RejectionReason | None:
        signature = message.signature
        entity, data = signature.entity_id, bytes(signature.signature)
        if not entity and not data:
            return RejectionReason.UNSIGNED if self._required else None
        if len(data) > SIGNATURE_BYTES:
            return RejectionReason.OVERSIZED
        if self._entities is not None and entity not in self._entities:
            return RejectionReason.WRONG_ENTITY
        keys = self._store.keys_of(entity)
        if not keys:
            return RejectionReason.UNKNOWN_KEY if self._required else None
        place = type(message).__name__, entity
        valid = self._store.valid_keys_of(entity)
        if valid and all(self._is_used(signature.sequence, *place, key) for key in valid):
            return RejectionReason.REPLAYED
        found = verify_form(data, lambda: message_form(message, service), keys)
        if found.fault is None and self._is_used(signature.sequence, *place, found.key):
            return RejectionReason.REPLAYED
        if found.fault is None:
            self._guard.note_sequence(signature.sequence, *place, found.key)
        return found.fault

    def _is_used(self, sequence: int, stream: str, entity: str, key: bytes) -> bool:
        return self._guard.is_older(sequence - 1, stream, entity, key)
