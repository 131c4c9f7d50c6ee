# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parse the URI of a frame source: scheme, path, validated options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from sage_perception.core.latent import Roi
from sage_perception.core.redact import without_secrets
from sage_perception.vision.sources.base import SourceError, SourceUnavailable


@dataclass(frozen=True)
class Option:
    """An option: a parser of its text, which raises `ValueError`, and the allowed values."""

    read: Callable[[str], Any]
    allowed: str


@dataclass(frozen=True)
class SourceUri:
    """A parsed URI.

    Attributes:
        text: the URI as given; it may contain a password.
        scheme: lower case.
        path: a file system path, a sensor number or, for RTSP, the URI without our own options.
        options: the given options, converted.
    """

    text: str
    scheme: str
    path: str
    options: dict[str, Any]

    @property
    def shown(self) -> str:
        """Return the URI without user names and passwords, for messages."""
        return without_secrets(self.text)

    def error(self, message: str) -> SourceError:
        """Return an error for an invalid URI; `message` is the reason and the fix."""
        return SourceError(f'source {self.shown}: {message}')

    def unavailable(self, message: str) -> SourceUnavailable:
        """Return an error for a device or file that is not available now."""
        return SourceUnavailable(f'source {self.shown}: {message}')

    def at(self, path: str) -> str:
        """Return this URI with its options and another path."""
        _, mark, query = self.text.partition('?')
        return f'{self.scheme}://{quote(path)}{mark}{query}'


def number(kind: type[int] | type[float], low: float, high: float) -> Option:
    """Return an option with the numbers from `low` to `high`."""

    def read(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    name = 'an integer' if kind is int else 'a number'
    return Option(read, f'{name} from {low} to {high}')


def choice(*values: str) -> Option:
    """Return an option with fixed values."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return Option(read, ' or '.join(values))


def flag() -> Option:
    """Return an option that is true or false."""
    values = {'true': True, '1': True, 'false': False, '0': False}

    def read(text: str) -> bool:
        if text not in values:
            raise ValueError(text)
        return values[text]

    return Option(read, 'true or false')


def _size(text: str) -> tuple[int, int]:
    width, height = (int(part) for part in text.split('x'))
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise ValueError(text)
    return width, height


def _roi(text: str) -> Roi:
    roi = Roi(*(int(part) for part in text.split(',')))
    if min(roi.x, roi.y) < 0 or min(roi.width, roi.height) < MIN_SIDE:
        raise ValueError(text)
    return roi


MIN_SIDE, MAX_SIDE = 16, 8192  # px
SIDE = number(int, MIN_SIDE, MAX_SIDE)
WORLD_SIDE = number(int, 32, 4096)
FPS = number(float, 0.01, 1000)

VIEW = {
    'size': Option(_size, f'WIDTHxHEIGHT, {MIN_SIDE} to {MAX_SIDE} pixels each'),
    'roi': Option(_roi, f'X,Y,WIDTH,HEIGHT in pixels, at least {MIN_SIDE} wide and high'),
    'gain': number(float, 0.01, 100),
}
PLAYBACK = {'fps': FPS, 'pace': choice('realtime', 'fast'), 'lock': choice('wall')} | {
    'pan': number(float, 0, 10_000),
    'shake': number(float, 0, 1000),
}
OPTIONS: dict[str, dict[str, Option]] = {
    'v4l2': VIEW | {'width': SIDE, 'height': SIDE, 'fps': FPS, 'format': choice('MJPG', 'YUYV')},
    'csi': VIEW
    | {'width': SIDE, 'height': SIDE, 'fps': FPS}
    | {'flip': number(int, 0, 7), 'wbmode': number(int, 0, 9), 'mode': number(int, 0, 63)},
    'rtsp': VIEW | {'transport': choice('tcp', 'udp')},
    'file': VIEW | PLAYBACK | {'loop': flag()},
    'images': VIEW | PLAYBACK | {'loop': flag()},
    'synthetic': VIEW
    | PLAYBACK
    | {'width': WORLD_SIDE, 'height': WORLD_SIDE}
    | {'seed': number(int, 0, 2**63 - 1), 'objects': number(int, 0, 64)}
    | {'flicker': number(float, 0, 1)},
}


def parse_uri(text: str) -> SourceUri:
    """Return the parsed URI; raise `SourceError` if it is not valid."""
    default = 'v4l2' if text.startswith('/dev/') else 'file'
    return parse(text, default, OPTIONS, _requirements)


Requirements = dict[str, tuple[object, str]]
"""By scheme: something that is true if a path is allowed, and what it must be, with an example."""


def parse(
    text: str,
    default: str,
    tables: Mapping[str, Mapping[str, Option]],
    requirements: Callable[[str, bool], Requirements],
) -> SourceUri:
    """Return the parsed URI of a source of images or of sound.

    Args:
        text: the URI.
        default: the scheme of a bare path.
        tables: the options by scheme.
        requirements: returns the requirements on a path, and on the path of an address.

    Raises:
        SourceError: the URI is not valid.
    """
    found = re.match(r'([A-Za-z][A-Za-z0-9+.-]*)://', text)
    scheme = found[1].lower() if found else default
    bare = SourceUri(text, scheme, '', {})
    if not text.isprintable():
        raise SourceError(f'source {text!r}: control characters are not allowed')
    if scheme not in tables:
        raise bare.error(f'unknown scheme {scheme}; use {", ".join(sorted(tables))}')
    path, _, query = text[found.end() if found else 0 :].partition('?')
    options, rest = _read_options(bare, query, tables[scheme])
    if scheme == 'rtsp':
        path = f'rtsp://{path}' + ('?' + '&'.join(rest) if rest else '')
    elif found:
        path = unquote(path)
    valid, wanted = requirements(path, bool(found))[scheme]
    if not valid:
        raise bare.error(f'{scheme}:// requires {wanted}')
    if not path.isprintable():
        raise bare.error('control characters are not allowed in the path')
    return SourceUri(text, scheme, path, options)


def _read_options(
    uri: SourceUri, query: str, table: Mapping[str, Option]
) -> tuple[dict[str, Any], list[str]]:
    """Return the options in `table`, and the parts of a query that belong to a camera (RTSP).

    Raises:
        SourceError: an option is unknown, given twice or has a value that is not allowed.
    """
    options: dict[str, Any] = {}
    rest = []
    for part in query.split('&') if query else ():
        name, _, value = part.partition('=')
        if name not in table:
            if uri.scheme != 'rtsp':
                raise uri.error(f'unknown option {name!r}; use {", ".join(sorted(table))}')
            rest.append(part)
            continue
        if name in options:
            raise uri.error(f'option {name} is given twice')
        try:
            options[name] = table[name].read(unquote(value))
        except (ValueError, TypeError):
            raise uri.error(
                f'{name}={value} is not allowed; it must be {table[name].allowed}'
            ) from None
    if 'lock' in options and (options.get('pace') == 'fast' or options.get('loop') is False):
        raise uri.error('lock=wall loops in real time; remove pace=fast or loop=false')
    return options, rest


def _requirements(path: str, is_address: bool) -> Requirements:
    return {
        'v4l2': (path.startswith('/dev/'), 'a device, as in v4l2:///dev/video0'),
        'csi': (re.fullmatch('[0-9]{1,2}', path), 'a sensor number, as in csi://0'),
        'rtsp': (re.match('rtsp://[^/?]', path), 'a host, as in rtsp://192.168.0.10/stream'),
        'file': (
            path.startswith('/') if is_address else path,
            'an absolute path, as in file:///data/video.avi (three slashes)',
        ),
        'images': (path.startswith('/'), 'an absolute path, as in images:///data/folder'),
        'synthetic': (not path, 'only options, as in synthetic://?seed=1'),
    }
