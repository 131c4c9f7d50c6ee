# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a node of sage without rate limits, so that each malformed message is read."""

from __future__ import annotations

import importlib

from sage_perception.trust.security import rate_limit

UNLIMITED = 1e9


def run(name: str) -> None:
    """Run the node of an executable, such as 'arbiter_node', with the arguments of the process."""
    rate_limit.PublisherQuota.RATE = rate_limit.PublisherQuota.BURST = UNLIMITED
    rate_limit.TokenBucket.__init__.__defaults__ = (
        *rate_limit.TokenBucket.__init__.__defaults__[:-2],
        UNLIMITED,
        UNLIMITED,
    )
    importlib.import_module(f'sage_perception.nodes.{name}').main()
