# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters and states of nodes that require signatures change by signed requests only."""

import importlib
import subprocess
import sys
import time

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from sage_msgs.srv import Control

from sage_perception.bringup.optional_nodes import OPTIONAL_NODES
from sage_perception.cli import keys as keys_command
from sage_perception.cli.request import TRANSITIONS
from sage_perception.nodes.camera_node import CameraNode
from sage_perception.nodes.memory_node import MemoryNode
from sage_perception.ros.control import CONTROL
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.message_form import MessageVerifier, sign_message
from sage_perception.trust import TrustStore
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key
from sage_perception.trust.security.rejection import RejectionReason

SAGE_REQUEST = 'import sys; from sage_perception.cli.request import main; sys.exit(main())'


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keys_command.main(['create', 'cam0', 'operator', '--dir', str(folder)]) == 0
    return folder


def node_of(ros, kind, **parameters):
    return ros.make(kind, require_signatures='true', **parameters)


@pytest.fixture
def memory(ros, keys, tmp_path):
    return node_of(ros, MemoryNode, keys=keys, store=tmp_path / 'memory.db')


@pytest.fixture
def camera(ros, keys):
    return node_of(ros, CameraNode, keys=keys, source='synthetic://?size=64x48')


def request_of(transition=0, **values):
    parameters = [
        Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
    ]
    return Control.Request(parameters=parameters, transition=transition)


def signed(node, keys, request, entity='operator', service='~/control'):
    identity = Identity(entity, load_key(keys, entity))
    return sign_message(request, identity, node.resolve_service_name(service))


def send(node, request):
    (service,) = (each for each in node.services if each.srv_type is Control)
    return service.callback(request, Control.Response())


def test_signed_requests_set_parameters(memory, keys):
    answer = send(memory, signed(memory, keys, request_of(threshold=0.2, recall_count=3)))
    assert (answer.success, answer.message) == (True, '')
    assert (memory.parameters.threshold, memory.parameters.recall_count) == (0.2, 3)
    assert memory.get_parameter('threshold').value == 0.2
    (result,) = memory.set_parameters([Parameter('threshold', value=0.1)])
    assert not result.successful, 'the next unsigned request is refused again'


def test_requests_that_no_operator_signed_are_refused(memory, keys):
    for request, reason in (
        (request_of(threshold=0.2), 'missing signature'),
        (signed(memory, keys, request_of(threshold=0.2), 'cam0'), 'wrong entity'),
        (signed(memory, keys, request_of(threshold=0.2), service='/x/control'), 'invalid sig'),
    ):
        answer = send(memory, request)
        assert not answer.success
        assert f'refused: {reason}' in answer.message
        assert 'sage request' in answer.message
    changed = signed(memory, keys, request_of(threshold=0.2))
    changed.parameters[0].value.double_value = 0.0
    assert 'invalid signature' in send(memory, changed).message
    once = signed(memory, keys, request_of(threshold=0.3))
    assert send(memory, once).success
    assert 'replayed' in send(memory, once).message
    assert memory.parameters.threshold == 0.3


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'threshold': 2.0}, 'out of range'),
        ({'capacity': 5}, 'read-only'),
        ({'no_such': 1}, 'no_such'),
        ({'': 1}, 'a parameter has no name'),
    ],
)
def test_all_parameters_of_a_request_are_set_or_none(memory, keys, values, reason):
    answer = send(memory, signed(memory, keys, request_of(min_novelty=0.5, **values)))
    assert not answer.success
    assert reason in answer.message
    assert memory.parameters.min_novelty == 0.1


def test_unsigned_requests_do_not_stop_the_clock_of_a_node(memory, keys):
    (result,) = memory.set_parameters([Parameter('use_sim_time', value=True)])
    assert not result.successful
    assert 'sage request set' in result.reason
    assert memory.get_clock().now().nanoseconds > 1e18
    assert send(memory, signed(memory, keys, request_of(use_sim_time=False))).success


def test_states_of_lifecycle_nodes_change_by_signed_requests(camera, keys):
    deactivate = Transition(id=Transition.TRANSITION_DEACTIVATE)
    (service,) = (each for each in camera.services if each.srv_type is ChangeState)
    unsigned = ChangeState.Request(transition=deactivate)
    assert not service.callback(unsigned, ChangeState.Response()).success
    assert not send(camera, request_of(deactivate.id)).success
    assert camera.active
    for transition, active in (('deactivate', False), ('activate', True), ('shutdown', False)):
        answer = send(camera, signed(camera, keys, request_of(TRANSITIONS[transition])))
        assert answer.success, answer.message
        assert camera.active == active
    answer = send(camera, signed(camera, keys, request_of(TRANSITIONS['shutdown'])))
    assert 'transition 5 is rejected' in answer.message


def test_the_log_of_a_refused_transition_is_bounded(camera, capfd):
    (service,) = (each for each in camera.services if each.srv_type is ChangeState)
    transition = Transition(id=Transition.TRANSITION_DEACTIVATE, label='x' * 10**5)
    capfd.readouterr()
    service.callback(ChangeState.Request(transition=transition), ChangeState.Response())
    log = capfd.readouterr().err
    assert 'sage request lifecycle --help' in log
    assert len(log) < 1000


def test_transitions_that_do_not_exist_are_refused(memory, camera, keys):
    answer = send(memory, signed(memory, keys, request_of(TRANSITIONS['activate'])))
    assert 'no lifecycle' in answer.message
    answer = send(camera, signed(camera, keys, request_of(99)))
    assert answer.message == '99 is not a transition that can be requested'
    answer = send(camera, signed(camera, keys, request_of(TRANSITIONS['configure'])))
    assert 'transition 1' in answer.message
    assert camera.active


def test_numbers_of_transitions_are_those_of_lifecycle_msgs():
    assert {
        name: getattr(Transition, f'TRANSITION_{name.upper()}')
        for name in TRANSITIONS
        if name != 'shutdown'
    } | {'shutdown': Transition.TRANSITION_UNCONFIGURED_SHUTDOWN} == TRANSITIONS


def test_every_node_serves_signed_requests_only_if_it_requires_signatures(ros):
    names = ['camera', 'attention', 'encoder', 'arbiter', *(n.name for n in OPTIONAL_NODES)]
    for name in names:
        module = importlib.import_module(f'sage_perception.nodes.{name}_node')
        (kind,) = (
            each
            for each in vars(module).values()
            if isinstance(each, type)
            and issubclass(each, Endpoints)
            and each.__module__ == module.__name__
        )
        assert CONTROL in kind.SERVES, name
        assert {'require_signatures', 'operators', 'keys'} <= {p.name for p in kind.PARAMETERS}
    node = ros.make(CameraNode, '-p', 'source:=synthetic://?size=64x48')
    assert not [each for each in node.services if each.srv_type is Control]


def test_a_request_from_before_a_restart_is_refused(keys):
    clock = [time.time_ns()]
    identity = Identity('operator', load_key(keys, 'operator'))
    request = sign_message(request_of(threshold=0.2), identity, '/memory/control')
    store = TrustStore(keys)

    def fault(started_ns):
        clock[0] = started_ns
        verifier = MessageVerifier(store, True, ['operator'], clock=lambda: clock[0])
        clock[0] = request.signature.sequence + 2_000_000_000
        return verifier.find_request_fault(request, '/memory/control')

    assert fault(request.signature.sequence + 1) is RejectionReason.STAMP
    assert fault(request.signature.sequence) is None


def test_requests_are_served_after_the_clock_of_a_node_was_set_back(keys):
    clock = [time.time_ns() + 3600 * 10**9]
    verifier = MessageVerifier(TrustStore(keys), True, ['operator'], clock=lambda: clock[0])
    clock[0] -= 3600 * 10**9
    identity = Identity('operator', load_key(keys, 'operator'))
    request = sign_message(request_of(threshold=0.2), identity, '/memory/control')
    assert verifier.find_request_fault(request, '/memory/control') is None
    assert verifier.find_request_fault(request, '/memory/control') is RejectionReason.REPLAYED


def test_operator_sends_signed_changes(keys, memory):
    def run(*arguments):
        command = [sys.executable, '-c', SAGE_REQUEST, *arguments, '--dir', str(keys)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run('set', '/under_test', 'threshold=0.25', 'recall_count=2')
    assert done.stdout == 'set: threshold, recall_count\n', done.stderr
    assert (memory.parameters.threshold, memory.parameters.recall_count) == (0.25, 2)
    done = run('lifecycle', '/under_test', 'shutdown')
    assert 'this node has no lifecycle' in done.stderr
