# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read YAML from untrusted sources with bounded time and memory.

PyYAML's safe loader constructs no arbitrary objects, but a small document can still expand to
gigabytes through aliases, exhaust the stack through nesting, or raise built-in exceptions from
malformed tagged scalars. This module rejects all of these with one `ValueError`.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sage_perception.core.reading import open_regular
from sage_perception.core.text import one_line

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
"""Maximum nesting depth of sequences and mappings in a document."""


class _Loader(yaml.SafeLoader):
    """The pure Python safe loader without aliases and with a limit on nesting."""

    def __init__(self, stream: bytes | str):
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node; raise `yaml.MarkedYAMLError` for an alias or too deep nesting."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _error(event, f'alias *{event.anchor} is not allowed: repeat the value')
        if self._depth > MAX_DEPTH:
            raise _error(event, f'more than {MAX_DEPTH} nested levels')
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file; None if it is empty.

    Raises
    ------
    ValueError
        If the file is larger than `MAX_BYTES`, is not valid YAML, uses an alias, or nests deeper
        than `MAX_DEPTH`. The message is one line that starts with the path.
    OSError
        If the file cannot be read, or is not a regular file.

    """
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    return parse_yaml(data, str(path))


def parse_yaml(data: bytes | str, source: str) -> object:
    """Return the content of a YAML document; None if it is empty.

    `source` names the document in error messages. Raises `ValueError` as `read_yaml` does.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f'{source}: larger than {MAX_BYTES // 1024} KiB')
    try:
        loader = _Loader(data)  # decodes the bytes and may already raise
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f', line {mark.line + 1}' if mark else ''
        raise ValueError(f'{source}{line}: {one_line(error.problem)}') from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f'{source}: {one_line(error)}') from None
    # The constructors of explicitly tagged scalars, such as `!!timestamp x`, do not check them.
    except (AttributeError, LookupError, TypeError, ArithmeticError):
        raise ValueError(f'{source}: a tagged value does not match its tag') from None


def read_mapping(path: Path) -> dict[Hashable, Any]:
    """Return the mapping in a YAML file.

    Raises as `read_yaml` does, and `ValueError` if the content is not a mapping.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        kind = 'is empty' if content is None else f'holds a {type(content).__name__}'
        raise ValueError(f'{path}: the file {kind}, expected a mapping')
    return content


def _error(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    mark = event.start_mark if isinstance(event.start_mark, yaml.Mark) else None
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
