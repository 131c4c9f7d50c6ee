# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Open a source of sound by its URI."""

from __future__ import annotations

import re
from urllib.parse import unquote

from sage_perception.audio.sources.alsa import open_alsa
from sage_perception.audio.sources.base import SoundSource
from sage_perception.audio.sources.recorded import open_file, open_sounds, open_synthetic
from sage_perception.audio.synthetic import CONTENTS
from sage_perception.vision.sources.base import SourceError
from sage_perception.vision.sources.pacing import SystemClock
from sage_perception.vision.sources.uri import (
    Option,
    SourceUri,
    choice,
    flag,
    number,
    read_options,
)

CHANNELS = number(int, 1, 8)
PLAYBACK = {'loop': flag(), 'pace': choice('realtime', 'fast')}
OPTIONS: dict[str, dict[str, Option]] = {
    'alsa': {'channels': CHANNELS},
    'file': PLAYBACK,
    'sounds': PLAYBACK | {'gap': number(float, 0, 60)},
    'synthetic': PLAYBACK
    | {'content': choice(*CONTENTS), 'seed': number(int, 0, 2**63 - 1), 'channels': CHANNELS}
    | {'bearing': number(float, -90, 90), 'snr': number(float, -20, 100)},
}
RECORDED = {'file': open_file, 'sounds': open_sounds, 'synthetic': open_synthetic}


def parse_sound_uri(text: str) -> SourceUri:
    """Return the parsed URI; raise `SourceError` if it is not valid."""
    found = re.match(r'([A-Za-z][A-Za-z0-9+.-]*)://', text)
    scheme = found[1].lower() if found else 'file'
    bare = SourceUri(text, scheme, '', {})
    if not text.isprintable():
        raise SourceError(f'source {text!r}: control characters are not allowed')
    if scheme not in OPTIONS:
        raise bare.error(f'unknown scheme {scheme}; use {", ".join(sorted(OPTIONS))}')
    path, _, query = text[found.end() if found else 0 :].partition('?')
    path = unquote(path) if found else path
    options, _ = read_options(bare, query, OPTIONS[scheme])
    expected = {
        'alsa': (path, 'a device, as in alsa://default or alsa://plughw:1,0'),
        'file': (path.startswith('/') if found else path, 'an absolute path, file:///data/a.wav'),
        'sounds': (path.startswith('/'), 'an absolute path, as in sounds:///data/folder'),
        'synthetic': (not path, 'only options, as in synthetic://?seed=1'),
    }
    valid, wanted = expected[scheme]
    if not valid or not path.isprintable():
        raise bare.error(f'{scheme}:// requires {wanted}')
    return SourceUri(text, scheme, path, options)


def open_sound(uri: str, *, clock: SystemClock | None = None) -> SoundSource:
    """Open a source; `sage_perception.audio.sources` documents the URIs.

    Args:
        uri: the URI of the source.
        clock: paces recorded and computed sound.

    Raises:
        SourceError: the URI or the content of the file is not valid.
        SourceUnavailable: the device or file is missing or in use.
    """
    parsed = parse_sound_uri(uri)
    if parsed.scheme == 'alsa':
        return open_alsa(parsed)
    return RECORDED[parsed.scheme](parsed, clock or SystemClock())
