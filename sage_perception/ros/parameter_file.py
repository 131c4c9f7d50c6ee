# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads ROS parameter files without nodes, with the rules of `rcl_yaml_param_parser`.

A key is a node name: `/cam0/encoder`, or a pattern in which `*` stands for one part of the name
and `**` for any number of them. If several keys match a node, the last one wins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sage_perception.core.reading import require_regular
from sage_perception.core.text import did_you_mean
from sage_perception.core.yaml_file import MAX_BYTES, read_mapping
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameters import Parameter

KEY = 'ros__parameters'


def require_parameter_files(arguments: Iterable[str]) -> None:
    """Check the parameter files in command line arguments before rcl reads them.

    The parser of rcl waits for a writer if the file is a pipe, and reads devices without end.

    Raises:
        ConfigurationError: a file cannot be read, is not a regular file, or is too large.
    """
    words = list(arguments)
    for name, path in itertools.pairwise(words):
        if name == '--params-file':
            try:
                require_regular(path, MAX_BYTES)
            except OSError as error:
                raise ConfigurationError(f'--params-file {path}: {error.strerror}') from None


class ParameterFile:
    """The values of a parameter file by node; without a path it is empty."""

    def __init__(self, path: Path | None = None) -> None:
        """Read a file.

        Raises:
            ValueError: the file is not a parameter file; the message names it.
            OSError: the file cannot be read.
        """
        self.path = path
        self._sections: list[tuple[str, dict[str, Any]]] = []
        if path is None:
            return
        for name, values in _sections(read_mapping(path), '', path):
            self._sections.append((name, dict(_flat(values))))

    def of(self, node: str) -> dict[str, Any]:
        """Return the values for a node by its full name, such as '/cam0/encoder'."""
        found: dict[str, Any] = {}
        for pattern, values in self._sections:
            if matches(pattern, node):
                found |= values
        return found

    def resolve(
        self, node: str, table: Iterable[Parameter], overrides: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the checked values of all parameters of a node, and notes on unknown ones.

        Args:
            node: its full name.
            table: its parameters, which supply the defaults.
            overrides: values that take precedence over the file.

        Raises:
            ValueError: a value is not allowed.
        """
        given = {**self.of(node), **(overrides or {})}
        known = {parameter.name: parameter for parameter in table}
        values = {name: parameter.default for name, parameter in known.items()}
        notes = []
        for name, value in given.items():
            if name in known:
                try:
                    values[name] = known[name].check(value)
                except ValueError as error:
                    where = f'{self.path}, node {node}: ' if name in self.of(node) else ''
                    raise ValueError(f'{where}{error}') from None
            elif name != 'use_sim_time':
                hint = did_you_mean(name, known)
                notes.append(f"{node}: ignoring unknown parameter '{name}'{hint}")
        return values, notes


def _sections(tree: Mapping[Any, Any], prefix: str, path: Path) -> Iterator[tuple[str, Mapping]]:
    """Yield the node patterns of a file with their values; namespaces may be nested mappings."""
    for key, value in tree.items():
        name = f'{prefix}/{str(key).strip("/")}'
        if not isinstance(value, dict):
            raise ValueError(
                f'{path}: {name} is not a mapping; a parameter file maps each node to {KEY}'
            )
        if KEY in value:
            if not isinstance(value[KEY], dict):
                raise ValueError(f'{path}: {KEY} of {name} is not a mapping of parameters')
            yield name, value[KEY]
        else:
            yield from _sections(value, name, path)


def _flat(values: Mapping[Any, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield parameters; nested mappings join their names with dots."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def matches(pattern: str, node: str) -> bool:
    """Return whether a pattern of rcl matches the full name of a node.

    The time is proportional to the product of their lengths; that of a regular expression with
    many wildcards would not be bounded.
    """
    names = node.strip('/').split('/')
    ends = {0}  # the numbers of names that the parts so far can match
    for part in pattern.strip('/').split('/'):
        if part == '**':
            ends = set(range(min(ends), len(names) + 1))
        else:
            ends = {end + 1 for end in ends if end < len(names) and _fits(part, names[end])}
        if not ends:
            return False
    return len(names) in ends


def _fits(part: str, name: str) -> bool:
    """Return whether a name matches a text in which `*` is any number of characters."""
    first, *others = part.split('*')
    if not others:
        return part == name
    *middle, last = others
    start, end = len(first), len(name) - len(last)
    if start > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for text in middle:
        found = name.find(text, start, end)
        if found < 0:
            return False
        start = found + len(text)
    return True
