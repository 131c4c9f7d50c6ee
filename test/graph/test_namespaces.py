# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Two robots on one host: each in its namespace, and neither hears the other."""

import os
import signal

import pytest
from sage_msgs.msg import LCTArray

from sage_perception.bringup.graph import Camera, single_camera
from sage_perception.trust.fusion.fusion import ALONE_TRUST

ROBOTS = ('robot1', 'robot2')


def robot(name, seed):
    source = f'synthetic://?seed={seed}&width=320&height=240&fps=15'
    return single_camera(
        [Camera('cam0', source)], namespace=name, frame_prefix=f'{name}/', viewer=False
    )


@pytest.fixture(scope='module')
def robots(run_graph):
    graph = run_graph([*robot('robot1', 1), *robot('robot2', 2)])
    graph.topics = {
        f'{name}/{topic}': graph.collect(LCTArray, f'{name}/{topic}')
        for name in ROBOTS
        for topic in ('cam0/lcts', 'trusted', 'fused')
    }
    graph.wait_for(
        lambda: all(heard_of(graph, name) for name in ROBOTS) and all(graph.topics.values()),
        'both robots',
    )
    return graph


def heard_of(graph, robot):
    """Return the non-empty arrays that a robot's arbiter made."""
    return [array for array in list(graph.topics[f'{robot}/fused']) if array.lcts]


def test_each_arbiter_has_heard_its_own_camera_only(robots):
    for name in ROBOTS:
        for topic in ('cam0/lcts', 'trusted', 'fused'):
            arrays = list(robots.topics[f'{name}/{topic}'])
            assert {a.header.frame_id for a in arrays} == {f'{name}/cam0_optical_frame'}
            first_speakers = {lct.provenance[0].entity_id for a in arrays for lct in a.lcts}
            assert first_speakers == {f'{name}/cam0'}
        assert {lct.entity_id for a in heard_of(robots, name) for lct in a.lcts} == {
            f'{name}/arbiter'
        }


def test_each_topic_has_the_endpoints_of_its_own_robot_only(robots):
    node = robots.ros.node
    for name in ROBOTS:
        topic = f'/{name}/cam0/lcts'

        def who(endpoints):
            return sorted((e.node_namespace, e.node_name) for e in endpoints)

        # Endpoints are discovered one by one, and the names of their nodes a little later.
        robots.wait_for(
            lambda t=topic, n=name: (
                who(node.get_subscriptions_info_by_topic(t))
                == [('/', 'tester'), (f'/{n}', 'arbiter')]
            ),
            f'its arbiter and the tester, and nobody else, to listen to {topic}',
        )
        robots.wait_for(
            lambda t=topic, n=name: (
                who(node.get_publishers_info_by_topic(t)) == [(f'/{n}/cam0', 'encoder')]
            ),
            f'its encoder, and nobody else, to speak on {topic}',
        )


def test_a_single_camera_is_passed_on_alone_with_a_low_trust(robots):
    for array in heard_of(robots, 'robot1'):
        for lct in array.lcts:
            encoded, alone = lct.provenance
            assert 0.5 * ALONE_TRUST <= alone.trust <= ALONE_TRUST, 'as the reputation is'
            assert lct.trust == pytest.approx(encoded.trust * alone.trust, rel=1e-3)


def test_what_befalls_one_robot_does_not_touch_the_other(robots):
    victims = [path for path in robots.runner.processes if path.startswith('robot1/')]
    before = {path: robots.pid(path) for path in robots.runner.processes}
    for path in victims:
        os.kill(before[path], signal.SIGKILL)
    robots.topics['robot2/fused'].clear()
    robots.wait_for(lambda: heard_of(robots, 'robot2'), 'robot2 goes on')
    robots.wait_for(
        lambda: all(robots.runner.processes[p].pid not in (None, before[p]) for p in victims),
        'robot1 starts again',
    )
    robots.topics['robot1/fused'].clear()
    robots.wait_for(lambda: heard_of(robots, 'robot1'), 'robot1 is back')
    for path in set(before) - set(victims):
        assert robots.pid(path) == before[path]
