# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""CPU, memory and power of the processes of a graph."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

NOT_READABLE = 'not readable'
RAPL = Path('/sys/class/powercap')
_TEGRA_INPUT = re.compile(r'(?:VDD_IN|POM_5V_IN|VDD_GPU_SOC|VIN_SYS_5V0) (\d+)(?:mW)?/')


@dataclass(frozen=True)
class Usage:
    """Use of one process: CPU in percent of a core; memory in MB (10^6 bytes)."""

    cpu_percent: float
    pss_mb: float | None
    rss_mb: float


class UsageMeter:
    """Measures processes from its creation until `read`; `pids` by the name of the process."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._start_s = time.monotonic()
        self._spent = {name: _cpu_s(process) for name, process in self._processes.items()}

    def read(self) -> dict[str, Usage]:
        """Return the use of each process; raises `psutil.NoSuchProcess` if one has ended."""
        elapsed_s = time.monotonic() - self._start_s
        spent = {name: _cpu_s(process) for name, process in self._processes.items()}
        return {
            name: Usage(
                round((spent[name] - self._spent[name]) / elapsed_s * 100, 1),
                _pss_mb(process),
                round(process.memory_info().rss / 1e6, 1),
            )
            for name, process in self._processes.items()
        }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _pss_mb(process: psutil.Process) -> float | None:
    """Return the proportional set size; None where the kernel does not report it."""
    try:
        return round(process.memory_full_info().pss / 1e6, 1)
    except (psutil.AccessDenied, AttributeError):
        return None


class PowerMeter:
    """Measures the mean power of the machine from its creation until `read`; a context manager.

    The source is `tegrastats` on a Jetson, else the RAPL counters of the packages.
    """

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._energies = _rapl_uj()
        self._milliwatts: list[int] = []
        self._process: subprocess.Popen[str] | None = None
        if shutil.which('tegrastats'):
            self._process = subprocess.Popen(
                ['tegrastats', '--interval', '500'], stdout=subprocess.PIPE, text=True
            )
            threading.Thread(target=self._follow, name='tegrastats', daemon=True).start()

    def __enter__(self) -> PowerMeter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _follow(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            for line in self._process.stdout:
                self._milliwatts += tegra_milliwatts(line)

    def read(self) -> dict[str, float | str]:
        """Return the mean power in W and its source; the text 'not readable' if there is none."""
        elapsed_s = time.monotonic() - self._start_s
        if self._milliwatts:
            mean = sum(self._milliwatts) / len(self._milliwatts)
            return {'watts': round(mean / 1e3, 2), 'source': 'tegrastats'}
        now = _rapl_uj()
        # A counter that has wrapped around is smaller than before.
        deltas = [now[k] - v for k, v in self._energies.items() if now.get(k, -1) >= v]
        if deltas:
            return {'watts': round(sum(deltas) * 1e-6 / elapsed_s, 2), 'source': 'RAPL'}
        return {'watts': NOT_READABLE, 'source': NOT_READABLE}


def tegra_milliwatts(line: str) -> list[int]:
    """Return the input power in a line of `tegrastats`, mW; empty if the line has none."""
    return [int(value) for value in _TEGRA_INPUT.findall(line)[:1]]


def _rapl_uj() -> dict[str, int]:
    """Return the energy counters of the CPU packages, microjoules; empty if not readable."""
    found = {}
    for zone in sorted(RAPL.glob('intel-rapl:[0-9]*')):
        if zone.name.count(':') != 1:  # a part of a package
            continue
        try:
            found[zone.name] = int((zone / 'energy_uj').read_text())
        except (OSError, ValueError):
            continue
    return found
