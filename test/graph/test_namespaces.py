# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Two robots on one host, isolated by their namespaces."""

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
        lambda: all(fused_arrays(graph, name) for name in ROBOTS) and all(graph.topics.values()),
        'both robots',
    )
    return graph


def fused_arrays(graph, robot):
    """Return the non-empty arrays that the arbiter of a robot has published."""
    return [array for array in list(graph.topics[f'{robot}/fused']) if array.lcts]


def test_each_arbiter_receives_only_its_own_camera(robots):
    for name in ROBOTS:
        for topic in ('cam0/lcts', 'trusted', 'fused'):
            arrays = list(robots.topics[f'{name}/{topic}'])
            assert {a.header.frame_id for a in arrays} == {f'{name}/cam0_optical_frame'}
            sources = {lct.provenance[0].entity_id for a in arrays for lct in a.lcts}
            assert sources == {f'{name}/cam0'}
        assert {lct.entity_id for a in fused_arrays(robots, name) for lct in a.lcts} == {
            f'{name}/arbiter'
        }


def test_topics_have_only_endpoints_of_their_robot(robots):
    node = robots.ros.node
    for name in ROBOTS:
        topic = f'/{name}/cam0/lcts'

        def nodes_of(endpoints):
            return sorted((e.node_namespace, e.node_name) for e in endpoints)

        # Endpoints are discovered one by one, and the names of their nodes later.
        robots.wait_for(
            lambda t=topic, n=name: (
                nodes_of(node.get_subscriptions_info_by_topic(t))
                == [('/', 'tester'), (f'/{n}', 'arbiter')]
            ),
            f'only the arbiter and the tester to subscribe to {topic}',
        )
        robots.wait_for(
            lambda t=topic, n=name: (
                nodes_of(node.get_publishers_info_by_topic(t)) == [(f'/{n}/cam0', 'encoder')]
            ),
            f'only the encoder to publish on {topic}',
        )


def test_single_camera_is_forwarded_with_reduced_trust(robots):
    for array in fused_arrays(robots, 'robot1'):
        for lct in array.lcts:
            encoded, alone = lct.provenance
            assert 0.5 * ALONE_TRUST <= alone.trust <= ALONE_TRUST, 'depends on the reputation'
            assert lct.trust == pytest.approx(encoded.trust * alone.trust, rel=1e-3)


def test_failure_of_one_robot_does_not_affect_the_other(robots):
    victims = [path for path in robots.runner.processes if path.startswith('robot1/')]
    before = {path: robots.pid(path) for path in robots.runner.processes}
    for path in victims:
        os.kill(before[path], signal.SIGKILL)
    robots.topics['robot2/fused'].clear()
    robots.wait_for(lambda: fused_arrays(robots, 'robot2'), 'latents of robot2')
    robots.wait_for(
        lambda: all(robots.runner.processes[p].pid not in (None, before[p]) for p in victims),
        'the restart of robot1',
    )
    robots.topics['robot1/fused'].clear()
    robots.wait_for(lambda: fused_arrays(robots, 'robot1'), 'latents of robot1')
    for path in set(before) - set(victims):
        assert robots.pid(path) == before[path]
