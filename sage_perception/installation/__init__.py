# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the installation for `sage doctor`; each finding names a fix.

`CHECKS` are functions without arguments that return a `Finding`. No module of this package imports
a third-party package at the top level, so that the checks run while packages are missing.
"""

from collections.abc import Callable

from sage_perception.installation import dds_security, hardware, host, ros
from sage_perception.installation.finding import MISSING, OK, OPTIONAL, Finding, run_check
from sage_perception.installation.packages import PACKAGES, Package, check_package

CHECKS: tuple[Callable[[], Finding], ...] = (
    host.python,
    host.command,
    host.folders,
    host.disk,
    host.shared_memory,
    ros.packages,
    ros.distribution,
    ros.index,
    ros.middleware,
    dds_security.dds_security,
    ros.messages,
    ros.launch,
    ros.bridge,
    ros.detections,
    ros.transforms,
    hardware.model,
    hardware.gstreamer,
    hardware.cuda,
    hardware.cameras,
)


def check_all() -> list[Finding]:
    """Run the checks of all packages and of everything else."""
    return [*map(check_package, PACKAGES), *map(run_check, CHECKS)]


__all__ = [
    'CHECKS',
    'MISSING',
    'OK',
    'OPTIONAL',
    'PACKAGES',
    'Finding',
    'Package',
    'check_all',
    'check_package',
    'run_check',
]
