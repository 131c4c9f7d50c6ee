# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters `qos_overrides`, by which a user changes the QoS of a topic."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.exceptions import ParameterException
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from sage_perception.ros.errors import ConfigurationError


@contextmanager
def overridable(topic: str, qos: QoSProfile) -> Iterator[tuple[QoSProfile, QoSOverridingOptions]]:
    """Yield the profile and the options with which to create an endpoint of a topic.

    rclpy writes the overrides into the profile, which is a copy of `qos`.

    Raises:
        ConfigurationError: an override is invalid; the message names it.
    """
    try:
        yield copy.copy(qos), QoSOverridingOptions.with_default_policies()
    except ParameterException as error:
        raise ConfigurationError(str(error)) from error
    except RuntimeError as error:
        if not str(error).startswith('Unexpected QoS override'):
            raise
        raise ConfigurationError(f'topic {topic}: {error}') from error
