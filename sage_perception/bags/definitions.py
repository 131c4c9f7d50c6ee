# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Message definitions: the installed one, the one in a bag, and their comparison.

A bag contains serialized messages. Deserializing them with a different definition gives wrong
values without an error. Therefore a bag also contains the definitions, which are compared with the
installed ones before a message is published or deserialized.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from sage_perception.core.text import one_line

try:
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    HAS_ROS = True
except ModuleNotFoundError:  # only the definitions in bags are available
    HAS_ROS = False

_RULE = '=' * 80 + '\n'
_TYPE_NAME = re.compile(r'(\w+)/(?:msg/)?(\w+)')
_INTERFACE = re.compile(r'([A-Za-z]\w*)/(?:(msg|srv|action)/)?([A-Za-z]\w*)', re.ASCII)
_MSG_FIELD = re.compile(r'^[ \t]*([A-Za-z]\w*(?:/\w+)*)', re.MULTILINE)
_IDL_INCLUDE = re.compile(r'^#include\s+["<]([\w/]+)\.idl[">]', re.MULTILINE)
_PRIMITIVE = {'bool', 'byte', 'char', 'string', 'wstring', 'float32', 'float64'} | {
    f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)
}


class UnreadableType(ValueError):
    """A message type is not installed, or its fields differ; the message names them."""


@dataclass(frozen=True)
class Definition:
    """A message type and the types of its fields.

    `text` is the concatenation of .msg files (`encoding` 'ros2msg') or .idl files ('ros2idl') as
    `rosbag2` writes it into the schemas of MCAP files.
    """

    type_name: str
    encoding: str
    text: str

    @cached_property
    def store(self) -> Typestore:
        """Return the types as a type store of the `rosbags` library.

        Raises:
            TypesysError: the library cannot parse the text.
        """
        try:
            return self._parsed()
        except Exception as error:  # of any kind, for a damaged text
            raise TypesysError(one_line(error) or type(error).__name__) from error

    def _parsed(self) -> Typestore:
        if self.encoding == 'ros2msg':
            types = get_types_from_msg(self.text, self.type_name)
        else:
            types = {}
            for part in filter(None, self.text.split(_RULE)):
                # The library does not parse #include; the included files are parts themselves.
                idl = re.sub(r'^(IDL: |#include).*$', '', part, flags=re.MULTILINE)
                types.update(get_types_from_idl(idl))
        store = get_typestore(Stores.EMPTY)
        store.register(types)
        return store

    @cached_property
    def type_hash(self) -> str:
        """Return the RIHS01 hash over names, types and bounds of all fields (REP-2016).

        It is empty if the text is empty or cannot be parsed.
        """
        if not self.text:
            return ''
        try:
            return self.store.hash_rihs01(self.type_name)
        except (TypesysError, LookupError):  # the text can lack the type or one of its fields
            return ''

    @cached_property
    def wire(self) -> tuple:
        """Return the types of all fields in order, which determine the serialized layout."""
        return self._wire_of(self.type_name)

    def _wire_of(self, name: str) -> tuple:
        return tuple(self._wire_of_field(kind) for _, kind in self.store.fielddefs[name][1])

    def _wire_of_field(self, field: tuple) -> tuple:
        kind, content = field
        if kind == Nodetype.BASE:
            return (content[0],)
        if kind == Nodetype.NAME:
            return self._wire_of(content)
        element, size = content
        return (size if kind == Nodetype.ARRAY else '[]', self._wire_of_field(element))

    def differences(self, other: Definition) -> str:
        """Return the fields that differ, as 'TYPE: field, field; TYPE: field'."""
        ours, theirs = ({**d.store.fielddefs} for d in (self, other))
        found = []
        for name in ours.keys() & theirs.keys():
            fields = [dict(types[name][1]) for types in (ours, theirs)]
            both = list(dict.fromkeys([*fields[0], *fields[1]]))
            changed = [field for field in both if fields[0].get(field) != fields[1].get(field)]
            if changed or list(fields[0]) != list(fields[1]):
                found.append(f'{name}: {", ".join(changed) or "order of the fields"}')
        return '; '.join(sorted(found))


def compare(recorded: Definition, installed: Definition) -> str:
    """Return harmless differences of two definitions in words; empty without differences.

    Raises:
        UnreadableType: the serialized layouts differ.
    """
    if not installed.type_hash or recorded.type_hash == installed.type_hash:
        return ''
    name = installed.type_name
    text = f'{name} was recorded with other fields: {recorded.differences(installed)}'
    if recorded.wire != installed.wire:
        raise UnreadableType(
            f'{text}: build the version of {_package(name)} used for the recording, or '
            'record again'
        )
    return f'{text}; only names or bounds differ'


def compare_sample(data: bytes, installed: Definition) -> None:
    """Check whether a message without a recorded definition can be deserialized.

    Raises:
        UnreadableType: the bytes do not fit the installed type.
    """
    if not installed.type_hash:
        return
    name = installed.type_name
    try:
        installed.store.deserialize_cdr(data, name)
    except SerdeError as error:
        raise UnreadableType(
            f'its messages do not fit the installed type {name} ({error}): '
            f'build the version of {_package(name)} used for the recording, or record again'
        ) from None


def decode(data: bytes, type_name: str, recorded: Definition | None) -> Any:
    """Return a serialized message as an object of the `rosbags` library, without ROS.

    Args:
        data: the serialized message (CDR).
        type_name: its type, such as 'sensor_msgs/msg/Image'.
        recorded: the definition in the bag; None for the installed or the common one.

    Raises:
        UnreadableType: there is no definition, or the bytes do not fit it.
    """
    try:
        store = recorded.store if recorded is not None and recorded.text else _store_of(type_name)
        return store.deserialize_cdr(data, type_name)
    except UnreadableType:
        raise
    except Exception as error:  # noqa: BLE001 (of any kind, for damaged bytes)
        raise UnreadableType(
            f'a message does not fit the definition of {type_name}: '
            f'{one_line(error) or type(error).__name__}'
        ) from None


@cache
def _store_of(type_name: str) -> Typestore:
    """Return a type store with the installed definition of a type, else with that of ROS."""
    try:
        return installed_definition(type_name).store
    except UnreadableType:
        store = get_typestore(Stores.LATEST)
        if type_name in store.fielddefs:
            return store
        raise UnreadableType(
            f'the bag has no definition of {type_name}, and its package is not installed: '
            'open the bag where it is'
        ) from None


def _package(type_name: str) -> str:
    return type_name.partition('/')[0]


@cache
def message_class(type_name: str) -> type:
    """Return the class of a message type such as 'sensor_msgs/msg/Image'.

    Raises:
        UnreadableType: the type is not installed.
    """
    parts = _INTERFACE.fullmatch(type_name)
    if parts is None:  # the name is from a file: it must not import any other module
        raise UnreadableType(f'{type_name!r:.80} is not the name of a message type')
    package, namespace, name = parts.groups()
    try:
        return getattr(importlib.import_module(f'{package}.{namespace or "msg"}'), name)
    except (ImportError, AttributeError):
        raise UnreadableType(
            f'{type_name} is not installed: build the package {package} and source it'
        ) from None


@cache
def installed_definition(type_name: str) -> Definition:
    """Return the definition of an installed type.

    Raises:
        UnreadableType: the type, or its .msg or .idl file, is not installed.
    """
    for encoding, suffix, field, title in (
        ('ros2msg', '.msg', _MSG_FIELD, 'MSG'),
        ('ros2idl', '.idl', _IDL_INCLUDE, 'IDL'),
    ):
        try:
            parts = _with_dependencies(type_name, suffix, field)
        except FileNotFoundError:
            continue
        texts = [f'{_RULE}{title}: {name}\n{text}' for name, text in parts.items()]
        if title == 'MSG':
            texts[0] = parts[type_name]
        return Definition(type_name, encoding, '\n'.join(texts))
    raise UnreadableType(f'the definition of {type_name} is not installed: build its package')


def _with_dependencies(root: str, suffix: str, field: re.Pattern[str]) -> dict[str, str]:
    """Return the texts of a definition and of the types of its fields by name, depth first."""
    texts: dict[str, str] = {}

    def visit(name: str) -> None:
        text = texts[name] = _read(name, suffix)
        package = _package(name)
        used = set(field.findall(text)) - _PRIMITIVE
        for other in sorted(n if '/' in n else f'{package}/{n}' for n in used):
            if other not in texts:
                visit(other)

    visit(root)
    return texts


def _read(name: str, suffix: str) -> str:
    match = _TYPE_NAME.fullmatch(name)
    if match is None or not HAS_ROS:
        raise FileNotFoundError(name)
    package, message = match.groups()
    try:
        share = Path(get_package_share_directory(package))
    except PackageNotFoundError:
        raise FileNotFoundError(name) from None
    return (share / 'msg' / f'{message}{suffix}').read_text(encoding='utf-8')
