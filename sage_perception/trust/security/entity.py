# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The form of entity ids: names that look the same are the same."""

from __future__ import annotations

import re

from sage_perception.trust.security.limits import MAX_TEXT_BYTES

FORM = f'1 to {MAX_TEXT_BYTES} characters of ASCII without spaces'
_ENTITY = re.compile(f'[!-~]{{1,{MAX_TEXT_BYTES}}}')


def is_entity(text: str) -> bool:
    """Return whether a text is an entity id.

    Letters of other alphabets, spaces and control characters are not allowed: an entity with a
    Cyrillic а in its name, or with a space at its end, could pass for another one in logs, reports
    and lists of keys.
    """
    return _ENTITY.fullmatch(text) is not None
