# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whose keys a node trusts, kept up to date while it runs."""

from __future__ import annotations

from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameters import Parameter
from sage_perception.trust.keys import KeyFault, key_folder
from sage_perception.trust.store import TrustStore

# How long a revocation may take to be seen.
REFRESH_PERIOD_S = 1.0

KEYS = Parameter(
    'keys',
    '',
    'Folder of the keys that are trusted, as `sage keys trust` writes it; empty: $SAGE_KEYS, else '
    '~/.config/sage/keys.',
    read_only=True,
)


class TrustedKeys:
    """The trust store that the parameter `keys` of a node names.

    Raises `ConfigurationError` for one that cannot be used. `fault` tells why it can no longer be
    read, '' while it can: until then what was trusted before still is.
    """

    def __init__(self, node):
        self._logger = node.get_logger()
        self.fault = ''
        try:
            self.store = TrustStore(key_folder(node.parameters.keys))
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'keys': {error}") from error
        node.create_timer(REFRESH_PERIOD_S, self._refresh, clock=node.diagnostics.clock)

    def _refresh(self) -> None:
        fault = ''
        try:
            if self.store.refresh():
                self._logger.info(f'{self.store.path} has changed: it holds from now on')
        except KeyFault as error:
            fault = f'{error}; what was trusted before still is'
        if fault and fault != self.fault:
            self._logger.error(fault)
        self.fault = fault
