# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Diagnostics show how often a node died."""

import time

import pytest

from sage_perception.bringup.respawn import DEATHS_FILE, STABLE_S, write_deaths
from sage_perception.ros.diagnostics import OK, WARN
from sage_perception.ros.process_history import ProcessHistory


@pytest.mark.parametrize(('deaths', 'level'), [(1, OK), (2, OK), (3, WARN), (40, WARN)])
def test_deaths_are_reported_and_repeated_ones_are_a_warning(tmp_path, monkeypatch, deaths, level):
    path = tmp_path / 'deaths'
    monkeypatch.setenv(DEATHS_FILE, str(path))
    write_deaths(path, deaths, 'killed by signal 9')
    history = ProcessHistory()
    found, message, values = history.report()
    assert found == level
    assert message == f'died {deaths} times, the last time: killed by signal 9'
    assert values == {'deaths': deaths, 'last_death': 'killed by signal 9'}
    later = time.monotonic() + STABLE_S + 1
    monkeypatch.setattr(time, 'monotonic', lambda: later)
    assert history.report()[0] == OK, 'it runs for long'


def test_process_without_deaths_is_ok(monkeypatch):
    monkeypatch.delenv(DEATHS_FILE, raising=False)
    assert ProcessHistory().report() == (OK, 'no deaths', {'deaths': 0, 'last_death': ''})
