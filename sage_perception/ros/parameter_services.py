# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed requests to the parameter services, which rclpy does not handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

_TYPES = frozenset(each.value for each in Parameter.Type)


def refuse_malformed(kind: type, callback: Callable) -> Callable:
    """Return the callback of a service of type `kind` that answers malformed requests itself.

    A request is malformed if a parameter in it has no name or a value of an unknown type: none
    of its parameters is set then. Services other than those that set parameters are not changed.
    """
    if kind not in (SetParameters, SetParametersAtomically):
        return callback

    def respond(request: Any, response: Any) -> Any:
        reason = next(filter(None, map(find_parameter_fault, request.parameters)), '')
        if not reason:
            return callback(request, response)
        result = SetParametersResult(successful=False, reason=reason)
        if kind is SetParameters:
            response.results = [result] * len(request.parameters)
        else:
            response.result = result
        return response

    return respond


def find_parameter_fault(parameter: Any) -> str:
    """Return the reason why a `rcl_interfaces/Parameter` is malformed, or ''."""
    if not parameter.name:
        return 'a parameter has no name'
    if parameter.value.type not in _TYPES:
        return (
            f'parameter {parameter.name[:80]!r}: type {parameter.value.type} is unknown, '
            f'see rcl_interfaces/msg/ParameterType'
        )
    return ''
