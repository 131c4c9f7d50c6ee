# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that the user of a node can fix."""


class ConfigurationError(ValueError):
    """A node cannot start as configured; the message names the parameter and the fix."""
