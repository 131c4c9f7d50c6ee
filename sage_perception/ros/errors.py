# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that the user of a node can fix."""


class ConfigurationError(ValueError):
    """A node cannot start as configured; the message names the parameter and the fix."""


class NodeFailure(Exception):
    """A node cannot go on and must be restarted; the exception's cause is the reason.

    Unlike other exceptions of callbacks, it ends the process.
    """
