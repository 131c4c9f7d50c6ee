# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a node of sage without rate limits, so that each malformed message is read."""

from __future__ import annotations

import importlib

from sage_perception.trust.security.rate_limit import PublisherQuota, TokenBucket

UNLIMITED = 1e9


def lift_limits() -> None:
    """Lift the limits on messages that are read. Those on answers stay: they are expensive."""
    TokenBucket.RATE = TokenBucket.BURST = UNLIMITED
    for kind in (TokenBucket, PublisherQuota):
        clock, _, _, *others = kind.__init__.__defaults__
        kind.__init__.__defaults__ = (clock, UNLIMITED, UNLIMITED, *others)


def run(name: str) -> None:
    """Run the node of an executable, such as 'arbiter_node', with the arguments of the process."""
    lift_limits()
    importlib.import_module(f'sage_perception.nodes.{name}').main()
