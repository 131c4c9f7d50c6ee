# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The decision to restart a node, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.bringup.respawn import (
    DEATHS_FILE,
    MAX_DELAY_S,
    STABLE_S,
    RespawnPolicy,
    read_deaths,
    write_deaths,
)


def delays(policy, lives_s):
    """Return the delays after lives of the given durations, seconds."""
    now_s, found = 1000.0, []
    for life_s in lives_s:
        policy.record_start(now_s)
        assert policy.record_exit(1) is None
        found.append(policy.delay_s)
        now_s += life_s + policy.delay_s
    return found


def test_delay_doubles_with_each_quick_death_up_to_a_limit():
    found = delays(RespawnPolicy(True, 0.5), [1.0] * 8)
    assert found == [0.5, 1, 2, 4, 8, MAX_DELAY_S, MAX_DELAY_S, MAX_DELAY_S]


def test_delay_is_short_again_after_a_long_life():
    found = delays(RespawnPolicy(True, 0.5), [1, 1, 1, STABLE_S + 1, 1, 1])
    assert found == [0.5, 1, 2, 4, 0.5, 1]


@given(
    st.lists(st.floats(0, 100), max_size=60),
    st.sampled_from([0.0, 0.05, 0.5, 30.0]),
)
def test_never_gives_up_and_never_waits_longer_than_the_limit(lives_s, delay_s):
    policy = RespawnPolicy(True, delay_s)
    found = delays(policy, lives_s)
    assert policy.deaths == len(lives_s)
    assert all(delay_s <= each <= max(MAX_DELAY_S, delay_s) for each in found)


def test_configuration_error_and_disabled_respawn_are_final():
    assert 'configuration error' in RespawnPolicy(True).record_exit(2)
    assert 'killed by signal 11' in RespawnPolicy(False).record_exit(-11)


def test_configuration_error_after_a_death_is_not_final():
    policy = RespawnPolicy(True)
    assert policy.record_exit(-9) is None
    assert policy.record_exit(2) is None


def test_deaths_reach_the_restarted_process(tmp_path, monkeypatch):
    path = tmp_path / 'deaths.json'
    monkeypatch.setenv(DEATHS_FILE, str(path))
    assert read_deaths() == (0, '')
    write_deaths(path, 3, 'killed by signal 9')
    assert read_deaths() == (3, 'killed by signal 9')


@pytest.mark.parametrize('text', ['', '[]', '{"deaths": "many", "last": ""}', '{"deaths": null}'])
def test_damaged_file_counts_as_no_death(tmp_path, monkeypatch, text):
    path = tmp_path / 'deaths.json'
    path.write_text(text)
    monkeypatch.setenv(DEATHS_FILE, str(path))
    assert read_deaths() == (0, '')
