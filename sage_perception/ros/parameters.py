# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters as a table: declared, validated, documented and applied from one description."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from sage_perception.core.settings import Interval
from sage_perception.ros.errors import ConfigurationError

# Declared by rclpy itself, or read by it.
_NOT_OURS = ('use_sim_time', 'start_type_description_service')
_WORDS = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a string'}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    The type is that of `default`; a list is one of different names. `minimum` and `maximum` are
    inclusive; `choices` are the only values allowed. A `read_only` one is set at start and never
    again.
    """

    name: str
    default: Any
    description: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple = ()
    read_only: bool = False

    @property
    def constraint(self) -> str:
        """Return in words which values are allowed; empty: any."""
        if self.choices:
            return 'one of ' + ', '.join(map(str, self.choices))
        if self.minimum is not None and self.maximum is not None:
            return f'{self.minimum} to {self.maximum}'
        if self.minimum is not None:
            return f'at least {self.minimum}'
        return '' if self.maximum is None else f'at most {self.maximum}'

    def check(self, value: Any) -> Any:
        """Return `value` in the parameter's type; raise `ValueError` when it is not allowed."""
        kind = type(self.default)
        if isinstance(self.default, (list, tuple)):
            listed = isinstance(value, (list, tuple))
            if not listed or not all(isinstance(item, str) for item in value):
                raise ValueError(f"parameter '{self.name}': {value!r} is not a list of strings")
            if not value or not all(value) or len(set(value)) != len(value):
                raise ValueError(
                    f"parameter '{self.name}': {value!r} is not one name or more, each once"
                )
            return list(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise ValueError(f"parameter '{self.name}': {value!r} is not {_WORDS[kind]}")
        below = self.minimum is not None and value < self.minimum
        above = self.maximum is not None and value > self.maximum
        if below or above or (self.choices and value not in self.choices) or value != value:
            allowed = self.constraint or _WORDS[kind]
            raise ValueError(f"parameter '{self.name}': {value!r} is not {allowed}")
        return value

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        # Our own check accepts an integer where a number is wanted; rclpy's would refuse it.
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description,
            additional_constraints=self.constraint,
            read_only=self.read_only,
            dynamic_typing=True,
        )
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, int):
                descriptor.integer_range = [
                    IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=0)
                ]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(
                        from_value=float(self.minimum), to_value=float(self.maximum), step=0.0
                    )
                ]
        return descriptor


def parameters_of(config: type) -> tuple[Parameter, ...]:
    """Return the fields of a settings dataclass (`core/settings.py`) as parameters.

    The ranges and choices come from the annotations, the descriptions from the metadata.
    """
    hints = get_type_hints(config, include_extras=True)
    return tuple(
        Parameter(
            field.name,
            field.default,
            field.metadata.get('description', ''),
            **_limits(hints[field.name], type(field.default)),
        )
        for field in fields(config)
    )


def _limits(hint: Any, kind: type) -> dict[str, Any]:
    """Return the limits of an annotation, bounds as `kind`, as arguments of `Parameter`."""
    if get_origin(hint) is Literal:
        return {'choices': get_args(hint)}
    for limit in getattr(hint, '__metadata__', ()):
        if isinstance(limit, Interval):
            bounds = {'minimum': limit.low, 'maximum': limit.high}
            return {name: kind(bound) for name, bound in bounds.items() if math.isfinite(bound)}
    return {}


class Parameters:
    """The parameters of a running node, read as attributes: `self.parameters.max_crops`.

    Raises:
        ConfigurationError: a value given at start is not allowed.
    """

    def __init__(self, node: Node, table: tuple[Parameter, ...], check=None, on_change=None):
        """Declare `table` on `node`; call `on_change()` after some of it changed.

        `check(values)` raises `ValueError` for values that do not go together.
        """
        self._table = {parameter.name: parameter for parameter in table}
        self._values: dict[str, Any] = {}
        self._check = check or (lambda values: None)
        self._on_change = on_change
        self._logger = node.get_logger()
        # Private in rclpy and still the only place that tells what the user asked for.
        given = getattr(node, '_parameter_overrides', {})
        for parameter in table:
            override = given.get(parameter.name)
            try:
                value = parameter.default if override is None else override.value
                value = parameter.check(value)
                if override is not None:
                    given[parameter.name] = type(override)(parameter.name, value=value)
                node.declare_parameter(parameter.name, value, parameter.descriptor())
            except (ValueError, ParameterException) as error:
                raise ConfigurationError(str(error)) from None
            self._values[parameter.name] = value
        try:
            self._check(self.values)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._name_typing_errors(given)
        node.add_on_set_parameters_callback(self._validate)
        self._applies_later = hasattr(node, 'add_post_set_parameters_callback')
        if self._applies_later:
            node.add_post_set_parameters_callback(self._apply)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def by_camera(self, name: str) -> dict[str, str]:
        """Return what a parameter says of some of `cameras`: camera=value, separated by commas.

        Raises:
            ConfigurationError: it is anything else.
        """
        values = {}
        for pair in filter(None, map(str.strip, self._values[name].split(','))):
            camera, _, value = pair.partition('=')
            if camera not in self.cameras or not value:
                raise ConfigurationError(
                    f"parameter '{name}': {pair!r} is not camera=value with one of the cameras "
                    f'{", ".join(self.cameras)}'
                )
            values[camera] = value
        return values

    @property
    def values(self) -> dict[str, Any]:
        """Return all of them."""
        return dict(self._values)

    def _name_typing_errors(self, given: dict) -> None:
        """Warn of parameters that no one declared: ROS would ignore them in silence."""
        for name in given:
            if name in self._table or name in _NOT_OURS or name.startswith('qos_overrides.'):
                continue
            close = difflib.get_close_matches(name, self._table, n=1)
            hint = f": did you mean '{close[0]}'?" if close else ''
            self._logger.warning(f"unknown parameter '{name}' is ignored{hint}")

    def _validate(self, changes: list) -> SetParametersResult:
        values = self.values
        try:
            for change in changes:
                if change.name in self._table:
                    values[change.name] = self._table[change.name].check(change.value)
            self._check(values)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._applies_later:
            self._apply(changes)
        return SetParametersResult(successful=True)

    def _apply(self, changes: list) -> None:
        changed = [change for change in changes if change.name in self._table]
        for change in changed:
            self._values[change.name] = self._table[change.name].check(change.value)
        if changed and self._on_change is not None:
            self._on_change()
