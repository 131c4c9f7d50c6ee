# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Dataclasses of settings whose annotations say what a field may be, and hold it to that.

    steps: Count = 6000
    asked: Annotated[float, Interval(0, 1, above=True)] = 0.25
    precision: Literal['32-true', 'bf16-mixed'] = '32-true'

`check` compares what is made with them, `build` makes it of what a file says.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar('T')
NAMES = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'a text'}


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included; with `above`, `low` is not."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self):
        if self.high < math.inf:
            return f'in {"(" if self.above else "["}{self.low}, {self.high}]'
        return f'over {self.low}' if self.above else f'of {self.low} or more'


Count = Annotated[int, Interval(1)]
Whole = Annotated[int, Interval(0)]
NotNegative = Annotated[float, Interval(0)]
Share = Annotated[float, Interval(0, 1)]


def check(settings: Any) -> None:
    """Raise `ValueError` for a field that is not what its annotation says; its name comes first.

    A `float` may be a whole number, but no infinity; an `int` is not a `bool`.
    """
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        value = getattr(settings, name)
        if not fits(value, hint):
            raise ValueError(f'{name} is {shown(value)}, it is {said(hint)}{advice(value, hint)}')


def build(kind: type[T], tree: Any, place: str = '') -> T:
    """Return settings of the dataclass `kind` out of what a YAML file says at `place`.

    `place` is such as `training.` and begins what a `ValueError` says. Lists become tuples; where
    a list is wanted one text is a list of one, where a text is wanted a number is its digits.
    """
    wanted = {field.name: field for field in fields(kind)}
    if not isinstance(tree, dict):
        named = place.removesuffix('.')
        raise ValueError(f'{named} is {shown(tree)}, it is a mapping of {", ".join(wanted)}')
    if unknown := [str(key) for key in tree if key not in wanted]:
        near = get_close_matches(unknown[0], wanted) or wanted
        raise ValueError(f'{place}{unknown[0]} is unknown, it may be {", ".join(near)}')
    for name, field in wanted.items():
        if name not in tree and field.default is field.default_factory is MISSING:
            raise ValueError(f'{place}{name} is missing')
    hints = get_type_hints(kind)
    try:
        return kind(**{name: _taken(value, hints[name]) for name, value in tree.items()})
    except ValueError as error:
        raise ValueError(f'{place}{error}') from None


def _taken(value: Any, hint: Any) -> Any:
    if get_origin(hint) is tuple and isinstance(value, str):
        return (value,)
    if hint is str and type(value) in (int, float):
        return str(value)
    if isinstance(value, list):
        return tuple(_taken(each, None) for each in value)
    return value


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is what an annotation says."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, args[0]) and value in args[1]
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        hints = args[:1] * len(value) if args[-1] is ... else args
        return len(value) == len(hints) and all(map(fits, value, hints))
    if hint in (int, float):
        number = isinstance(value, (int, hint)) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return hint is Any or isinstance(value, origin if origin is dict else hint)


def said(hint: Any) -> str:
    """Return an annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f'{said(args[0])} {args[1]}'
    if origin is Literal:
        return f'one of {", ".join(map(str, args))}'
    if origin is tuple:
        return f'a list, each of it {said(args[0])}'
    return NAMES.get(hint, 'a mapping')


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    return 'empty' if value is None else repr(value)


def advice(value: Any, hint: Any) -> str:
    """Return how YAML wants a number like 1e-3, which is a text to it: with a point and a sign."""
    if not isinstance(value, str):
        return ''
    mantissa, _, exponent = value.lower().partition('e')
    try:
        meant = f'{float(mantissa)}e{int(exponent):+}'
    except ValueError:
        return ''
    return f': write {meant}' if fits(float(meant), hint) else ''
