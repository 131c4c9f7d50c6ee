# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SROS2 policies: they allow exactly what the nodes of a graph create."""

from xml.etree import ElementTree

import pytest

from sage_perception.bringup.composition import compose
from sage_perception.bringup.graph import Camera, dual_camera, fleet, single_camera
from sage_perception.bringup.node_class import node_class
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES
from sage_perception.cli import security
from sage_perception.installation import dds_security
from sage_perception.installation.policy import (
    INPUTS,
    OPERATOR,
    enclaves_of,
    policy_xml,
    recipe,
)

WHOLE = dual_camera(**{node.name: True for node in OPTIONAL_NODES})
DRIVER = single_camera([Camera('cam0', topic='/driver/image_raw')])
ARGUMENTS = {
    'camera': ['source:=synthetic://'],
    'audio': ['source:=synthetic://'],
    'memory': ['store:={tmp}/memory.db'],
    'attention': ['image_transport:=compressed'],
    'positions': ['use_depth:=true'],
}


def profiles(specs):
    return {e.path: e.profiles for e in enclaves_of(specs)}


def created(ros, spec, tmp_path):
    """Create a node and return the names of its publishers, subscriptions and services."""
    arguments = [a.format(tmp=tmp_path) for a in ARGUMENTS.get(spec.name, [])]
    words = [word for argument in arguments for word in ('-p', argument)]
    for source, target in spec.remappings:
        words += ['-r', f'{source}:={target}']
    if 'cameras' in spec.parameters:
        words += ['-p', f'cameras:=[{", ".join(spec.parameters["cameras"])}]']
    namespace = f'/{spec.namespace}'
    ros.make(node_class(spec.executable), *words, name=spec.name, namespace=spec.namespace)
    place = (spec.name, namespace)
    ros.wait_for(lambda: ros.node.get_service_names_and_types_by_node(*place), 'its services')
    return [
        {name for name, _ in query(*place)}
        for query in (
            ros.node.get_publisher_names_and_types_by_node,
            ros.node.get_subscriber_names_and_types_by_node,
            ros.node.get_service_names_and_types_by_node,
        )
    ]


@pytest.mark.parametrize(
    'spec',
    [spec for spec in WHOLE if not spec.namespace.startswith('cam1')] + DRIVER[:1],
    ids=lambda spec: spec.path + ('' if spec.name != 'attention' else str(len(spec.remappings))),
)
def test_the_policy_allows_what_a_node_creates(ros, tmp_path, spec):
    publishers, subscriptions, services = created(ros, spec, tmp_path)
    graph = DRIVER if spec in DRIVER else WHOLE
    [profile] = profiles(graph)[f'/{spec.path}']
    assert publishers <= set(profile.publish)
    assert subscriptions <= set(profile.subscribe)
    assert services <= set(profile.reply)
    assert len(services) >= len(profile.reply) - 1, 'Jazzy has one service more than Humble'


def test_no_enclave_of_a_graph_may_do_more_than_its_nodes():
    found = profiles(WHOLE)
    assert '/cam1/lcts' not in found['/cam0/encoder'][0].publish
    assert '/trusted' in found['/arbiter'][0].publish
    others = [p for path, own in found.items() if path not in (INPUTS, OPERATOR) for p in own]
    assert not any(profile.request for profile in others)
    publishers = [p.node for p in others if '/trusted' in p.publish]
    assert publishers == ['arbiter']


def test_the_inputs_may_publish_only_what_the_graph_reads_from_outside():
    [inputs] = profiles(DRIVER)[INPUTS]
    assert {'/driver/image_raw', '/driver/camera_info', '/clock'} <= set(inputs.publish)
    assert not {'/cam0/crops', '/cam0/lcts', '/trusted'} & set(inputs.publish)
    assert not inputs.request


def test_the_operator_may_call_every_service_and_publish_nothing_of_the_graph():
    [operator] = profiles(WHOLE)[OPERATOR]
    assert {'/memory/forget', '/cam0/camera/change_state'} <= set(operator.request)
    assert {'/fused', '/cam1/crops'} <= set(operator.subscribe)
    assert set(operator.publish) == {'/rosout', '/parameter_events', '/diagnostics'}


def test_composed_nodes_share_an_enclave():
    found = profiles(compose(WHOLE, 'camera'))
    assert [p.node for p in found['/cam0/container']] == [
        'camera',
        'attention',
        'encoder',
        'slots',
    ]
    assert '/arbiter' in found


def test_robots_of_a_fleet_have_enclaves_of_their_own():
    found = profiles(fleet(['r1', 'r2']))
    assert '/r2/cam1/lcts' not in found['/r1/cam1/encoder'][0].publish
    assert '/r1/cam1/lcts' in found['/r1/cam1/encoder'][0].publish


def test_the_file_has_the_structure_of_a_policy_of_sros2():
    root = ElementTree.fromstring(policy_xml(enclaves_of(WHOLE)).encode())
    assert (root.tag, root.attrib) == ('policy', {'version': '0.2.0'})
    paths = [enclave.attrib['path'] for enclave in root.iterfind('enclaves/enclave')]
    assert paths == [f'/{spec.path}' for spec in WHOLE] + [INPUTS, OPERATOR]
    for rules in root.iterfind('enclaves/enclave/profiles/profile/*'):
        [(verb, permission)] = rules.attrib.items()
        assert permission == 'ALLOW'
        assert (
            verb
            in {'topics': ('publish', 'subscribe'), 'services': ('reply', 'request')}[rules.tag]
        )
        assert all(name.text.startswith('/') and ' ' not in name.text for name in rules)


def test_the_recipe_makes_every_enclave_and_quotes_its_arguments():
    script = recipe(enclaves_of(DRIVER), '~/my store', 'policy.xml')
    assert script.startswith('#!/bin/sh -eu\n')
    for path in profiles(DRIVER):
        assert f"ros2 security create_enclave '~/my store' {path}\n" in script
        assert f"ros2 security create_permission '~/my store' {path} policy.xml\n" in script


def test_the_command_takes_the_arguments_of_sage_up(tmp_path, capsys):
    file = tmp_path / 'policy.xml'
    assert security.main(['policy', '-o', str(file), 'single_camera', '--image0', '/a/b']) == 0
    assert '<topic>/a/b</topic>' in file.read_text()
    assert security.main(['enclaves', 'single_camera', '--robots', 'a']) == 2
    assert 'single_camera has one robot' in capsys.readouterr().err


def test_the_doctor_detects_a_middleware_without_dds_security(monkeypatch):
    finding = dds_security.dds_security()
    assert finding.name == 'DDS security'
    assert finding.state in ('ok', 'optional')
    if finding.state == 'optional':
        assert 'built without it' in finding.detail
