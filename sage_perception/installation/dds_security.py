# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""DDS Security (SROS2): whether the installed middleware supports it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from sage_perception.installation.finding import OK, OPTIONAL, Finding

NAME = 'DDS security'
TIMEOUT_S = 60.0
_FILES = (
    'identity_ca.cert.pem',
    'cert.pem',
    'key.pem',
    'permissions_ca.cert.pem',
    'governance.p7s',
    'permissions.p7s',
)
_PROBE = """\
import rclpy
rclpy.init(args=['--ros-args', '--enclave', '/probe'])
try:
    rclpy.create_node('probe')
except Exception as error:
    print(str(error).replace('\\n', ' '))
"""


def dds_security() -> Finding:
    """Check that the middleware was built with DDS Security, which SROS2 requires.

    A node with an empty enclave cannot start; the error of a middleware without DDS Security
    names the reason.
    """
    if find_spec('rclpy') is None:
        raise ModuleNotFoundError("No module named 'rclpy'")
    with tempfile.TemporaryDirectory() as folder:
        enclave = Path(folder, 'enclaves', 'probe')
        enclave.mkdir(parents=True)
        for name in _FILES:
            (enclave / name).touch()
        done = subprocess.run(
            [sys.executable, '-c', _PROBE],
            env={
                **os.environ,
                'ROS_SECURITY_ENABLE': 'true',
                'ROS_SECURITY_STRATEGY': 'Enforce',
                'ROS_SECURITY_KEYSTORE': folder,
                'ROS_LOG_DIR': folder,
            },
            capture_output=True,
            text=True,
            errors='replace',
            timeout=TIMEOUT_S,
        )
    if 'security libraries' in done.stdout:
        detail = 'the middleware was built without it: graphs cannot use SROS2 (docs/security.md)'
        fix = 'install ROS from its distribution (apt), whose Fast DDS has it'
        return Finding(NAME, OPTIONAL, detail, fix)
    enabled = os.environ.get('ROS_SECURITY_ENABLE', '').lower() == 'true'
    if not enabled:
        return Finding(NAME, OK, 'supported, not enabled: see sage security --help')
    if os.environ.get('ROS_SECURITY_STRATEGY') != 'Enforce':
        detail = 'enabled, but ROS_SECURITY_STRATEGY is not Enforce: nodes without keys start, too'
        return Finding(NAME, OPTIONAL, detail, 'export ROS_SECURITY_STRATEGY=Enforce')
    return Finding(NAME, OK, f'enforced, keystore {os.environ.get("ROS_SECURITY_KEYSTORE", "")}')
