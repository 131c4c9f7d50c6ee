# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Keep credentials in URLs out of messages, logs and parameters."""

from __future__ import annotations

import re
from urllib.parse import unquote

SECRET_IN_AUTHORITY = re.compile(r'(?<=://)[^/?]*@')
SECRET_IN_QUERY = re.compile(r'(?i)\b((?:pass|pwd|user|token|key|auth)\w*)=[^&]*')

PASSWORD_OPTION = re.compile(r'(?i)\b(?:ssl)?password\s*=')


def has_password(url: str) -> bool:
    """Return whether a connection URL or string contains a password, escaped correctly or not."""
    _, _, rest = url.partition('://')
    password = rest.rpartition('@')[0].partition(':')[2]
    return bool(password) or bool(PASSWORD_OPTION.search(unquote(url)))


def require_no_password(url: str) -> None:
    """Raise `ValueError`, which does not quote `url`, if it contains a password.

    Arguments and parameters of a process are readable by other processes and, in ROS, by the
    whole network: in `/proc`, with `ros2 param get` and on `/parameter_events`.
    """
    if has_password(url):
        raise ValueError(
            'the URL contains a password (or an @ that is not written as %40), which others could '
            'read: remove it, and put the password into ~/.pgpass (mode 0600), a file that '
            'PGPASSFILE names, a service (postgresql:///?service=NAME) or the variable PGPASSWORD'
        )


def without_secrets(url: str) -> str:
    """Return a URL without user name and password, and with secrets in its query masked."""
    return SECRET_IN_QUERY.sub(r'\1=***', SECRET_IN_AUTHORITY.sub('', url))
