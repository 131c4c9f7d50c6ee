# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that the person who starts a node can mend."""


class ConfigurationError(ValueError):
    """What was asked for cannot be: the message names it and the fix; the node does not start."""
