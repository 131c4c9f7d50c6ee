# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""In whose name a node speaks, and whose keys it trusts."""

from __future__ import annotations

import time

from sage_msgs.msg import LCT as LCTMessage

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.lct import LCT
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameters import Parameter
from sage_perception.trust.security.keys import KeyFault, check_entity, key_folder
from sage_perception.trust.security.signing import signing_key, signs_with
from sage_perception.trust.security.trust_store import TrustStore

# How long a revocation may take to be seen.
REFRESH_PERIOD_S = 1.0

KEYS = Parameter(
    'keys',
    '',
    'Folder of the keys that are trusted, as `sage keys trust` writes it; empty: $SAGE_KEYS, else '
    '~/.config/sage/keys.',
    read_only=True,
)

REQUIRE_SIGNATURES = Parameter(
    'require_signatures',
    False,
    'Believe only what is signed with trusted keys. false, for a robot alone: also what is '
    'unsigned of whoever has no trusted key.',
    read_only=True,
)

KEY = Parameter(
    'key',
    '',
    'Secret key that LCTs of this node are signed with: its file, or the folder that holds it, as '
    'made by `sage keys create`; empty: they are not signed.',
    read_only=True,
)


class Identity:
    """The entity in whose name a node speaks, how far it has counted, and the key it signs with.

    It is named as the node is, unless `entity` says otherwise; `key`, None for a node that does
    not sign, is what its parameter `key` names. Raises `ConfigurationError` for what cannot be.
    """

    def __init__(self, node, entity: str = ''):
        own_name = node.get_fully_qualified_name()
        try:
            self.entity = check_entity(entity or own_name.strip('/'))
        except KeyFault as error:
            raise ConfigurationError(f'node {own_name}: {error}') from error
        try:
            self.key = signing_key(node.parameters.key, self.entity)
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'key': {error}") from error
        # Later than any this entity has used before, so that a restart is no replay.
        self._sequence = time.time_ns()

    @property
    def signs_with(self) -> str:
        """Return the public key, as `sage keys trust` takes it; or 'nothing'."""
        return signs_with(self.key)

    def next(self) -> int:
        """Return the sequence of the next LCT."""
        self._sequence += 1
        return self._sequence

    def say(
        self, lct: LCT, form: Encoding = Encoding.FLOAT32, packer: Packer | None = None
    ) -> LCTMessage:
        """Return an LCT of this entity as a message, signed; raises as `lct_to_msg` does."""
        return lct_to_msg(lct, form, packer, self.key)


class TrustedKeys:
    """The trust store that the parameter `keys` of a node names, and whether it is `required`.

    Raises `ConfigurationError` for one that cannot be used. `worries` tell why it can no longer be
    read, while what was trusted before still is, and that nobody can be believed.
    """

    def __init__(self, node):
        self.required = node.parameters.require_signatures
        self._logger = node.get_logger()
        self._fault = ''
        try:
            self.store = TrustStore(key_folder(node.parameters.keys))
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'keys': {error}") from error
        node.create_timer(REFRESH_PERIOD_S, self._refresh, clock=node.diagnostics.clock)

    @property
    def worries(self) -> list[str]:
        """Return what is to be mended."""
        nobody = f'{self.store.path} trusts nobody: sage keys trust ENTITY KEY'
        worries = [self._fault, nobody if self.required and not self.store.entities else '']
        return [worry for worry in worries if worry]

    def _refresh(self) -> None:
        fault = ''
        try:
            if self.store.refresh():
                self._logger.info(f'{self.store.path} has changed: it holds from now on')
        except KeyFault as error:
            fault = f'{error}; what was trusted before still is'
        if fault and fault != self._fault:
            self._logger.error(fault)
        self._fault = fault
