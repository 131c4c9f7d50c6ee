# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters from tables: one description declares, validates and documents a parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
from sage_perception.core.text import did_you_mean
from sage_perception.ros.errors import ConfigurationError

# Declared or read by rclpy itself.
_OF_RCLPY = ('use_sim_time', 'start_type_description_service')
_WORDS = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a string'}
REFUSED = (
    'this node requires signatures: set the parameter at the start, or by a request that an '
    'operator signs, see sage request set --help'
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Attributes:
        name: the name.
        default: the default value, which determines the type: bool, int, float, str, or a list of
            distinct, non-empty strings.
        description: text for `ros2 param describe` and the documentation.
        minimum, maximum: inclusive limits; None for no limit.
        choices: the allowed values; empty for any value.
        read_only: the parameter can only be set at start.
        rule: raises `ValueError` for a value that is not allowed. It is called before the
            parameter is declared, and so before other nodes can read the value.
    """

    name: str
    default: Any
    description: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple = ()
    read_only: bool = False
    rule: Callable[[Any], None] | None = None

    @property
    def constraint(self) -> str:
        """Return the allowed values in words; empty if any value is allowed."""
        if self.choices:
            return 'one of ' + ', '.join(map(str, self.choices))
        if self.minimum is not None and self.maximum is not None:
            return f'{self.minimum} to {self.maximum}'
        if self.minimum is not None:
            return f'at least {self.minimum}'
        return '' if self.maximum is None else f'at most {self.maximum}'

    def check(self, value: Any) -> Any:
        """Return `value` in the type of the parameter; integers are accepted as floats.

        Raises:
            ValueError: the value is not allowed.
        """
        if isinstance(self.default, (list, tuple)):
            return self._checked_names(value)
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise ValueError(f"parameter '{self.name}': {value!r} is not {_WORDS[kind]}")
        below = self.minimum is not None and value < self.minimum
        above = self.maximum is not None and value > self.maximum
        if below or above or (self.choices and value not in self.choices) or value != value:
            allowed = self.constraint or _WORDS[kind]
            raise ValueError(f"parameter '{self.name}': {value!r} is not {allowed}")
        if self.rule is not None:
            try:
                self.rule(value)
            except ValueError as error:
                raise ValueError(f"parameter '{self.name}': {error}") from None
        return value

    def _checked_names(self, value: Any) -> list[str]:
        listed = isinstance(value, (list, tuple))
        if not listed or not all(isinstance(item, str) for item in value):
            raise ValueError(f"parameter '{self.name}': {value!r} is not a list of strings")
        if not value or not all(value) or len(set(value)) != len(value):
            raise ValueError(f"parameter '{self.name}': {value!r} is not a list of distinct names")
        return list(value)

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor for `ros2 param describe`."""
        # Dynamic typing: `check` accepts an integer for a float, rclpy would reject it.
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
    """Return the limits of an annotation, of type `kind`, as arguments of `Parameter`."""
    if get_origin(hint) is Literal:
        return {'choices': get_args(hint)}
    for limit in getattr(hint, '__metadata__', ()):
        if isinstance(limit, Interval):
            bounds = {'minimum': limit.low, 'maximum': limit.high}
            return {name: kind(bound) for name, bound in bounds.items() if math.isfinite(bound)}
    return {}


def values_by_camera(name: str, text: str, cameras: Sequence[str]) -> dict[str, str]:
    """Return the values by camera of a parameter of the form camera=value,camera=value.

    Raises:
        ValueError: the form is different, or a camera is not one of `cameras`.
    """
    values = {}
    for pair in filter(None, map(str.strip, text.split(','))):
        camera, _, value = pair.partition('=')
        if camera not in cameras or not value:
            raise ValueError(
                f"parameter '{name}': {pair!r} is not camera=value, where camera is one of "
                f'{", ".join(cameras)}'
            )
        values[camera] = value
    return values


class Parameters:
    """The parameters of a running node, read as attributes: `self.parameters.max_crops`."""

    def __init__(
        self,
        node: Node,
        table: tuple[Parameter, ...],
        check: Callable[[dict[str, Any]], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ):
        """Declare parameters on a node.

        Args:
            node: the node.
            table: the parameters.
            check: called with all values; raises `ValueError` for an invalid combination.
            on_change: called after parameters changed at run time.

        Raises:
            ConfigurationError: a value given at start is not allowed.
        """
        self._table = {parameter.name: parameter for parameter in table}
        self._values: dict[str, Any] = {}
        self._check = check or (lambda values: None)
        self._on_change = on_change
        self._signed = False
        self._logger = node.get_logger()
        # Private in rclpy, but the only place with the values that the user gave.
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
        self._warn_of_unknown(given)
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
        """Return the values by camera of a parameter of the form camera=value,camera=value.

        Raises:
            ConfigurationError: the form is different, or a camera is not in `cameras`.
        """
        try:
            return values_by_camera(name, self._values[name], self.cameras)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    @property
    def values(self) -> dict[str, Any]:
        """Return all values by name."""
        return dict(self._values)

    @contextmanager
    def signed(self) -> Iterator[None]:
        """Allow changes in this context although the node requires signatures."""
        self._signed = True
        try:
            yield
        finally:
            self._signed = False

    def _warn_of_unknown(self, given: Iterable[str]) -> None:
        """Log parameters that are not declared: ROS ignores them without a message."""
        for name in given:
            if name in self._table or name in _OF_RCLPY or name.startswith('qos_overrides.'):
                continue
            hint = did_you_mean(name, self._table)
            self._logger.warning(f"ignoring unknown parameter '{name}'{hint}")

    def _validate(self, changes: list) -> SetParametersResult:
        values = self.values
        if self._values.get('require_signatures') and not self._signed and _is_change(changes):
            return SetParametersResult(successful=False, reason=REFUSED)
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


def _is_change(changes: list) -> bool:
    """Return whether parameters are changed, and not those of QoS declared, which are read-only.

    The parameters of rclpy count: with `use_sim_time`, the clock of the node could be stopped.
    """
    return not all(change.name.startswith('qos_overrides.') for change in changes)
