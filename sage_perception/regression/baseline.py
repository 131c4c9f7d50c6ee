# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The baseline of a bag: a summary and its tolerances, in a JSON file beside the bag.

The file has one line for each stream and second, so that a change of a baseline is readable as a
diff. A name that ends in `.gz` is compressed.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_perception.core.files import write_atomically
from sage_perception.core.reading import open_regular
from sage_perception.core.settings import build
from sage_perception.core.text import one_line
from sage_perception.regression.summary import VECTORS, Summary
from sage_perception.regression.tolerances import Tolerances

FORMAT, VERSION = 'sage baseline', 1
FIX = 'write it with "sage regress --update"'
MAX_BYTES = 256 * 2**20
"""Maximum size of a baseline after decompression."""


class BaselineError(ValueError):
    """A baseline cannot be read or used; the message names the file and the fix."""


@dataclass(frozen=True)
class Baseline:
    """The expected summary of a bag, and the tolerances for comparisons with it."""

    summary: Summary
    tolerances: Tolerances = field(default_factory=Tolerances)


def baseline_path(bag: Path) -> Path:
    """Return the default file of the baseline of a bag: `BAG.baseline.json` beside it."""
    bag = bag.resolve()
    name = bag.name if bag.is_dir() else bag.name.partition('.')[0]
    return bag.with_name(f'{name}.baseline.json')


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline. Raises `OSError`."""
    summary = baseline.summary
    head = {
        'format': FORMAT,
        'version': VERSION,
        'hashes': summary.hashes,
        'settings': summary.settings,
        'tolerances': baseline.tolerances.as_dict(),
    }
    parts = [json.dumps(head, indent=1, sort_keys=True)[:-2], ',\n "streams": {']
    for number, stream in enumerate(summary.streams):
        parts.append(f'{"," if number else ""}\n  {json.dumps(stream)}: {{\n')
        lines = (f'   "{second}": {text}' for second, text in summary.lines(stream))
        parts.append(',\n'.join(lines) + '\n  }')
    data = (''.join(parts) + '\n }\n}\n').encode()
    write_atomically(path, gzip.compress(data, mtime=0) if path.suffix == '.gz' else data)


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises `BaselineError` if the file is missing, damaged, too large, or of a later version.
    """
    try:
        tree = json.loads(_read(path))
        if not isinstance(tree, dict) or tree.get('format') != FORMAT:
            raise BaselineError(f'{path} is not a baseline: {FIX}')
        version = tree.get('version')
        if version != VERSION:
            raise BaselineError(f'{path} has version {version!r}, not {VERSION}: {FIX}')
        return Baseline(_summary(tree), build(Tolerances, tree['tolerances'], 'tolerances.'))
    except BaselineError:
        raise
    except FileNotFoundError:
        raise BaselineError(f'{path} does not exist: {FIX}') from None
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise BaselineError(f'{path} cannot be read: {reason}') from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BaselineError(f'{path} is damaged ({one_line(error)}): {FIX}') from None


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == '.gz' else raw
            data = file.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(error) from None
    if len(data) > MAX_BYTES:
        raise ValueError(f'larger than {MAX_BYTES // 2**20} MiB')
    return data


def _summary(tree: dict[str, Any]) -> Summary:
    hashes = {str(name): str(value) for name, value in tree['hashes'].items()}
    settings = {str(node): dict(values) for node, values in tree['settings'].items()}
    summary = Summary(hashes, settings)
    for stream, seconds in tree['streams'].items():
        for second, cells in seconds.items():
            checked = {
                track: {what: _value(what, value) for what, value in cell.items()}
                for track, cell in cells.items()
            }
            summary.set_second(stream, int(second), checked)
    return summary


def _value(what: str, value: Any) -> Any:
    if isinstance(value, list) != (what in VECTORS):
        raise ValueError(f'{what} must be a {"list" if what in VECTORS else "number"}')
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f'{number!r} is not a number')
        if not math.isfinite(number):  # raises OverflowError for an integer of any length
            raise ValueError(f'{number!r} is not finite')
    return value
