# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Settings as dataclasses whose annotations declare types, ranges and choices.

    steps: PositiveInt = 6000
    ratio: Annotated[float, Interval(0, 1, open_low=True)] = 0.25
    precision: Literal['32-true', 'bf16-mixed'] = '32-true'

`check` validates an instance, typically in `__post_init__`; `build` creates one from YAML.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from sage_perception.core.text import did_you_mean


class DataclassInstance(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar('T', bound=DataclassInstance)

_TYPE_NAMES = {int: 'an integer', float: 'a number', bool: 'true or false', str: 'a string'}


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`, inclusive; `open_low` excludes `low`."""

    low: float
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.open_low and value == self.low)

    def __str__(self) -> str:
        if self.high < math.inf:
            return f'in {"(" if self.open_low else "["}{self.low}, {self.high}]'
        return f'above {self.low}' if self.open_low else f'of at least {self.low}'


PositiveInt = Annotated[int, Interval(1)]
NonNegativeInt = Annotated[int, Interval(0)]
NonNegativeFloat = Annotated[float, Interval(0)]
UnitInterval = Annotated[float, Interval(0, 1)]


def check(settings: DataclassInstance) -> None:
    """Raise `ValueError` for the first field that does not match its annotation.

    The message starts with the name of the field. An integer is a valid `float`; infinity, NaN and
    a `bool` for an `int` are not valid.
    """
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        value = getattr(settings, name)
        if not matches(value, hint):
            raise ValueError(
                f'{name} is {shown(value)}; it must be {described(hint)}{_advice(value, hint)}'
            )


def build(kind: type[T], tree: Any, prefix: str = '') -> T:
    """Return an instance of the dataclass `kind` from a parsed YAML mapping.

    `prefix`, such as `training.`, precedes field names in error messages. Lists become tuples.
    Where a tuple is expected, a string becomes a tuple with one item; where a string is expected,
    a number becomes its text. Raises `ValueError` for unknown, missing or invalid fields.
    """
    expected = {field.name: field for field in fields(kind)}
    if not isinstance(tree, dict):
        named = prefix.removesuffix('.')
        raise ValueError(
            f'{named} is {shown(tree)}; it must be a mapping of {", ".join(expected)}'
        )
    if unknown := [key for key in tree if key not in expected]:
        raise ValueError(f'{prefix}{_unknown(str(unknown[0]), list(expected))}')
    for name, field in expected.items():
        if name not in tree and field.default is field.default_factory is MISSING:
            raise ValueError(f'{prefix}{name} is missing')
    hints = get_type_hints(kind)
    try:
        return kind(**{name: _converted(value, hints[name]) for name, value in tree.items()})
    except ValueError as error:
        raise ValueError(f'{prefix}{error}') from None


def _unknown(name: str, expected: Sequence[str]) -> str:
    hint = did_you_mean(name, expected) or f': expected one of {", ".join(expected)}'
    return f'{name} is unknown{hint}'


def _converted(value: Any, hint: Any) -> Any:
    if get_origin(hint) is tuple and isinstance(value, str):
        return (value,)
    if hint is str and type(value) in (int, float):
        return str(value)
    if isinstance(value, list):
        return tuple(_converted(each, None) for each in value)
    return value


def matches(value: Any, hint: Any) -> bool:
    """Return whether a value matches an annotation."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return matches(value, args[0]) and value in args[1]
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        hints = args[:1] * len(value) if args[-1] is ... else args
        return len(value) == len(hints) and all(map(matches, value, hints))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return _is_finite(value)
    return hint is Any or isinstance(value, origin if origin is dict else hint)


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of float
        return False


def described(hint: Any) -> str:
    """Return an annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f'{described(args[0])} {args[1]}'
    if origin is Literal:
        return f'one of {", ".join(map(str, args))}'
    if origin is tuple:
        return f'a list, each item {described(args[0])}'
    return _TYPE_NAMES.get(hint, 'a mapping')


def shown(value: Any) -> str:
    """Return a short representation of a value for error messages."""
    return 'empty' if value is None else reprlib.repr(value)


def _advice(value: Any, hint: Any) -> str:
    """Return a hint for numbers such as 1e-3, which YAML reads as a string."""
    if not isinstance(value, str):
        return ''
    mantissa, _, exponent = value.lower().partition('e')
    try:
        meant = f'{float(mantissa)}e{int(exponent):+}'
    except ValueError:
        return ''
    return f': write {meant}' if matches(float(meant), hint) else ''
