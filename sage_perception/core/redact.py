# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Remove credentials from URLs before they are printed or logged."""

from __future__ import annotations

import re

SECRET_IN_AUTHORITY = re.compile(r'(?<=://)[^/?]*@')
SECRET_IN_QUERY = re.compile(r'(?i)\b((?:pass|pwd|user|token|key|auth)\w*)=[^&]*')


def without_secrets(url: str) -> str:
    """Return a URL without user name and password, and with secrets in its query masked."""
    return SECRET_IN_QUERY.sub(r'\1=***', SECRET_IN_AUTHORITY.sub('', url))
