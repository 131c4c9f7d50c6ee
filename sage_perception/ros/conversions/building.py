# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Messages without the defaults and copies of their constructors."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

CHECKED = os.environ.get('ROS_PYTHON_CHECK_FIELDS') == '1'
"""Whether messages check their fields, as the constructors of rosidl do: on in the tests."""

MessageT = TypeVar('MessageT')


def build(kind: type[MessageT], /, **fields: Any) -> MessageT:
    """Return a message of type `kind`; all of its fields must be given.

    The constructor of a message makes the default of each nested message, also for a field that is
    given, and copies each array: for the messages of a frame this takes longer than their
    conversions, and an image is copied twice. Here, arrays become fields as they are: they must be
    of the type that the constructor makes, `array.array` for a sequence of numbers and
    `numpy.ndarray` for an array of fixed length.
    """
    if CHECKED:
        missing = set(kind.get_fields_and_field_types()) - set(fields)  # type: ignore[attr-defined]
        assert not missing, f'{kind.__name__} needs {", ".join(sorted(missing))}'
        return kind(**fields)
    message = kind.__new__(kind)
    setters = _setters(kind)  # type: ignore[arg-type]  # a class can be hashed
    for name, value in fields.items():
        setters[name](message, value)
    if 'check_fields' in setters:  # since Jazzy
        setters['check_fields'](message, False)
    return message


@cache
def _setters(kind: Any) -> dict[str, Callable[[Any, Any], None]]:
    """Return the functions that set the fields of a message type without its properties."""
    return {slot[1:]: getattr(kind, slot).__set__ for slot in kind.__slots__}
