# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The identity of a node and its trusted keys, from the node's parameters."""

from __future__ import annotations

from dataclasses import replace

from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameters import Parameter
from sage_perception.trust.security.identity import Identity, find_key, keys_folder_of
from sage_perception.trust.security.keys import KeyFault, key_folder, public_bytes
from sage_perception.trust.security.trust_store import TrustStore

# Maximum time until a revocation takes effect.
REFRESH_PERIOD_S = 1.0

KEYS = Parameter(
    'keys',
    '',
    'Folder of the trusted keys, as written by `sage keys trust`; empty: $SAGE_KEYS, else '
    '~/.config/sage/keys.',
    read_only=True,
)

REQUIRE_SIGNATURES = Parameter(
    'require_signatures',
    False,
    'Accept only LCTs that are signed with a trusted key. If false, also accept unsigned LCTs of '
    'entities without a trusted key; use this only on a network without other machines.',
    read_only=True,
)

KEY = Parameter(
    'key',
    '',
    'Secret key that signs the LCTs of this node, as made by `sage keys create`: the file, or the '
    'folder that contains it; empty: LCTs are not signed.',
    read_only=True,
)


OPERATORS = Parameter(
    'operators',
    'operator',
    'Entities whose signed requests are served if signatures are required, separated by commas.',
    read_only=True,
)

SIGNED_REQUESTS = (
    replace(
        REQUIRE_SIGNATURES,
        description='Refuse changes of parameters, and of the state of a lifecycle node, that no '
        'operator has signed, see `sage request`.',
    ),
    OPERATORS,
    KEYS,
)
"""The parameters of a node that receives no signed messages."""

ARBITER_ENTITY = Parameter(
    'arbiter_entity',
    '',
    'Entity of the arbiter, the only one that may sign the messages on trusted and agreement if '
    'signatures are required; empty: the node arbiter in the namespace of this node.',
    read_only=True,
)

MEMORY_ENTITY = Parameter(
    'memory_entity',
    '',
    'Entity of the memory, the only one that may sign the messages on recall and snarc if '
    'signatures are required; empty: the node memory in the namespace of this node.',
    read_only=True,
)

UNSIGNED_IMAGES = Parameter(
    'unsigned_images',
    False,
    'Use unsigned images with require_signatures, too, such as those of a driver: anyone on the '
    'network can publish images then.',
    read_only=True,
)


def node_identity(node: Endpoints, entity_id: str = '') -> Identity:
    """Return the identity of a node that declares the parameter `KEY`.

    `entity_id` defaults to the name of the node, with its namespace. Raises `ConfigurationError`
    for an invalid entity id, and for a key that cannot be used.
    """
    name = node.get_fully_qualified_name()
    try:
        identity = Identity(entity_id or name.strip('/'))
    except KeyFault as error:
        raise ConfigurationError(f'node {name}: {error}') from error
    try:
        identity.key = find_key(node.parameters.key, identity.entity_id)
    except KeyFault as error:
        raise ConfigurationError(f"parameter 'key': {error}") from error
    if identity.key is not None:
        identity.persist(node.parameters.key)
        identity.next_sequence()  # writes the file, so that a fault shows at the start
        if identity.sequence_fault:
            node.get_logger().warning(identity.sequence_fault)
    return identity


def arbiter_entity(node: Endpoints) -> str:
    """Return the entity of the arbiter, for a node that declares `ARBITER_ENTITY`."""
    return node.parameters.arbiter_entity or f'{node.get_namespace()}/arbiter'.strip('/')


def memory_entity(node: Endpoints) -> str:
    """Return the entity of the memory, for a node that declares `MEMORY_ENTITY`."""
    return node.parameters.memory_entity or f'{node.get_namespace()}/memory'.strip('/')


def own_keys(identity: Identity) -> TrustStore:
    """Return a store with the key of an identity alone, for messages of its own other nodes."""
    store = TrustStore()
    if identity.key is not None:
        store.trust(identity.entity_id, public_bytes(identity.key))
    return store


def keys_beside_own(node: Endpoints) -> TrustStore:
    """Return the trusted keys in the folder of the parameter `KEY`; none without a key.

    Keys that cannot be used are logged as a warning: they only give priority to their entities.
    """
    location = node.parameters.key
    try:
        return TrustStore(keys_folder_of(location)) if location else TrustStore()
    except KeyFault as error:
        node.get_logger().warning(f'challenges are not authenticated: {error}')
        return TrustStore()


class TrustedKeys:
    """The trust store of a node that declares the parameters `KEYS` and `REQUIRE_SIGNATURES`.

    The store is refreshed every `REFRESH_PERIOD_S` seconds. If its file becomes invalid, the keys
    of the last valid one stay in force, and `warnings` has the cause. Raises `ConfigurationError`
    for a file that is invalid from the start.
    """

    def __init__(self, node: Endpoints) -> None:
        self.required: bool = node.parameters.require_signatures
        self._logger = node.get_logger()
        self._fault = ''
        try:
            self.store = TrustStore(key_folder(node.parameters.keys))
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'keys': {error}") from error
        node.add_timer(REFRESH_PERIOD_S, self._refresh, clock=node.diagnostics.clock)

    @property
    def warnings(self) -> list[str]:
        """Return the problems of the trust store, with their fixes."""
        empty = f'{self.store.path} has no trusted keys: run sage keys trust ENTITY KEY'
        found = [self._fault, empty if self.required and not self.store.entities else '']
        return [warning for warning in found if warning]

    def _refresh(self) -> None:
        fault = ''
        try:
            if self.store.refresh():
                self._logger.info(f'reloaded {self.store.path}')
        except KeyFault as error:
            fault = f'{error}; the keys of the last valid file stay in force'
        if fault and fault != self._fault:
            self._logger.error(fault)
        self._fault = fault
