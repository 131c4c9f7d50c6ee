# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The decision to restart a node."""

from sage_perception.bringup.respawn import RespawnPolicy


def test_fifth_exit_within_the_window_is_final():
    policy = RespawnPolicy(respawn=True)
    assert [policy.record_exit(1, t) for t in (0.0, 7.0, 14.0, 21.0)] == [None] * 4
    assert 'died 5 times within 30 s' in policy.record_exit(-9, 28.0)


def test_restarts_after_exits_far_apart():
    policy = RespawnPolicy(respawn=True)
    assert all(policy.record_exit(1, 8.0 * n) is None for n in range(50))


def test_configuration_error_and_disabled_respawn_are_final():
    assert 'configuration error' in RespawnPolicy(respawn=True).record_exit(2, 0.0)
    assert 'killed by signal 11' in RespawnPolicy(respawn=False).record_exit(-11, 0.0)
