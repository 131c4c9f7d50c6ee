# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged serialized requests, which rclpy has no function to send.

The type support of a request has a table of C functions, with which the middleware serializes it.
While a damaged request is sent, two of them are replaced by functions that write its bytes.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SERIALIZE = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)
_SIZE = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)
_WRITE = '_ZN8eprosima7fastcdr3Cdr15serialize_arrayEPKcm'  # Cdr::serialize_array(char*, size_t)
HEADER_BYTES = 4
"""Encapsulation header of a serialized message, which the middleware writes itself."""


class _Callbacks(ctypes.Structure):
    """The first fields of `message_type_support_callbacks_t`."""

    _fields_ = [
        ('namespace', ctypes.c_char_p),
        ('name', ctypes.c_char_p),
        ('serialize', ctypes.c_void_p),
        ('deserialize', ctypes.c_void_p),
        ('size', ctypes.c_void_p),
    ]


class _TypeSupport(ctypes.Structure):
    """The first fields of `rosidl_message_type_support_t`."""

    _fields_ = [('identifier', ctypes.c_char_p), ('data', ctypes.POINTER(_Callbacks))]


@contextmanager
def sent_as(kind: Any, data: bytes) -> Iterator[None]:
    """Make each request of the service type `kind` be sent as `data`, a serialized message.

    It must not be longer than a valid request: the middleware has no room for more.
    """
    callbacks = _callbacks(kind)
    write = getattr(ctypes.CDLL(_loaded('libfastcdr.so')), _WRITE)
    write.restype, write.argtypes = None, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
    body = data[HEADER_BYTES:]

    def serialize(_: int, cdr: int) -> bool:
        write(cdr, body, len(body))
        return True

    replaced = _SERIALIZE(serialize), _SIZE(lambda _: len(body))
    before = callbacks.serialize, callbacks.size
    callbacks.serialize, callbacks.size = (
        ctypes.cast(function, ctypes.c_void_p).value for function in replaced
    )
    try:
        yield
    finally:
        callbacks.serialize, callbacks.size = before


def _loaded(name: str) -> str:
    """Return the path of a library that this process has loaded."""
    maps = Path('/proc/self/maps').read_text().splitlines()
    return next(line.split(maxsplit=5)[-1] for line in maps if name in line)


def _callbacks(kind: Any) -> _Callbacks:
    package = kind.__module__.partition('.')[0]
    name = f'{package}__srv__{kind.__name__}_Request'
    library = ctypes.CDLL(_loaded(f'lib{package}__rosidl_typesupport_fastrtps_c.so'))
    get = getattr(
        library, f'rosidl_typesupport_fastrtps_c__get_message_type_support_handle__{name}'
    )
    get.restype, get.argtypes = ctypes.POINTER(_TypeSupport), ()
    callbacks = get().contents.data.contents
    assert re.fullmatch(f'{kind.__name__}_Request', callbacks.name.decode())
    return callbacks
