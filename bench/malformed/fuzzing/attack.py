# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sends malformed messages to all nodes of a running graph, and counts what breaks."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from sage_msgs.srv import QueryMemory

from fuzzing.client import Client, Endpoint, Pending, load_type
from fuzzing.own_memory import own_memory_mb
from fuzzing.private_devices import with_private_devices
from fuzzing.unlimited import BURST
from fuzzing.values import Mutator
from sage_perception.bringup.composition import compose
from sage_perception.bringup.graph import Camera, NodeSpec, perception
from sage_perception.bringup.processes import GraphRunner
from sage_perception.models import available
from sage_perception.models.semantic.text_encoder import PACKAGE

MESSAGES, REQUESTS = 24, 4
"""Messages to a topic, and requests to a service, in one turn."""
TRIED = 6
"""In the first turn, the largest messages of so many times as many are sent.

The middleware keeps, for each endpoint, buffers as large as its largest message. They reach their
size in the first turn, and are not growth.
"""
ALIVE_S, RECOVERY_S = 30.0, 60.0
"""Time in which a node must answer, and in which a dead one must be back, seconds."""
SAMPLES_S = 15.0
"""Time in which valid messages of the topics are collected, seconds."""
WARM_UP = 0.15
"""Share of the messages, or of the time, after which the growth of the memory is measured."""
RARE = ('probe_challenge', 'probe_answers')
"""Topics with messages at random times, a minute apart, and not in response to others."""
PARAMETER_SERVICES = ('set_parameters', 'set_parameters_atomically')


@dataclass
class Result:
    """What an attack did.

    Attributes:
        sent: number of messages and requests.
        deaths: number of processes that ended, and of nodes that did not answer.
        unanswered: number of requests that were not answered in time.
        exceptions: exceptions of callbacks that were caught, by node.
        rss_mb: growth of the memory of each process, see `own_memory_mb`, after the warm-up.
        silent: topics without a valid message after the attack.
        log: a line for each death, with the seeds of the messages that were sent meanwhile.
    """

    sent: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    unanswered: int = 0
    exceptions: dict[str, int] = field(default_factory=dict)
    rss_mb: dict[str, float] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            'sent': self.sent.total(),
            'deaths': self.deaths,
            'rss_mb_growth': round(max(self.rss_mb.values(), default=0.0), 1),
            'exceptions': sum(self.exceptions.values()),
            'unanswered_requests': self.unanswered,
            'silent_topics': self.silent,
            'by_kind': dict(self.sent),
            'rss_mb_by_process': {name: round(mb, 1) for name, mb in self.rss_mb.items()},
            'log': self.log,
        }


def graph(namespace: str, folder: Path, cameras: int, composed: bool) -> list[NodeSpec]:
    """Return the processes of a graph with all nodes, without rate limits."""
    # Valid messages arrive all the time; at a higher rate they would take most of the CPU time.
    source = 'synthetic://?size=160x120&fps=2'
    specs = perception(
        [Camera(f'cam{n}', f'{source}&seed={n}') for n in range(cameras)],
        namespace=namespace,
        memory=True,
        compressor=True,
        positions=True,
        slots='slots' in available(),
        zspace=True,
        proprioception=True,
        translator=find_spec(PACKAGE) is not None,
        effector=True,
        audio=True,
    )
    specs = with_private_devices(specs, folder, translator={'sound_goals': True})
    processes = compose(specs, 'graph' if composed else 'none')
    return [replace(spec, package='fuzzing') for spec in processes]


@dataclass
class _Running:
    """The attack of an endpoint: its steps, and the requests that the next one waits for."""

    seed: str
    steps: Iterator[list[Pending]]
    pending: list[Pending] = field(default_factory=list)
    deadline: float = 0.0

    def advance(self) -> bool:
        """Take the next step; return whether there was one."""
        found = next(self.steps, None)
        self.pending, self.deadline = found or [], time.monotonic() + ALIVE_S
        return found is not None

    @property
    def is_due(self) -> bool:
        """Return whether to take the next step."""
        done = all(each.future.done() for each in self.pending)
        return done or time.monotonic() > self.deadline

    @property
    def silent(self) -> list[str]:
        """Return the nodes that have not answered."""
        return sorted({each.node for each in self.pending if not each.future.done()} - {''})


class Attack:
    """An attack on the nodes of a running graph; `seed` makes it repeatable.

    With `only`, the name of a node such as 'memory', nothing is sent to the others.
    """

    def __init__(self, runner: GraphRunner, client: Client, seed: int, only: str = '') -> None:
        self._runner, self._client, self._seed, self._only = runner, client, seed, only
        self.result = Result()
        specs = [process.spec for process in runner.processes.values()]
        self.nodes = {
            f'/{node.path}': process.path
            for process in specs
            for node in (process.nodes or (process,))
        }
        self._endpoints: list[Endpoint] = []
        self._restarts = self._count_restarts()
        self._parameters: dict[str, list] = {}
        self._outputs: list[str] = []

    def prepare(self) -> None:
        """Wait until the graph works, and keep samples of its messages."""
        client = self._client
        for node in self.nodes:
            if not client.is_alive(node, RECOVERY_S):
                failure = self._runner.failure or 'it does not answer'
                raise RuntimeError(f'{node} does not start: {failure}')
        outputs = {topic for node in self.nodes for topic in client.published(node)}
        outputs = {
            (name, kind) for name, kind in outputs if kind.split('/')[0] != 'rcl_interfaces'
        }
        client.watch(outputs)
        self._parameters = {node: client.parameters(node) for node in self.nodes}
        if not client.receive(lambda: client.received['/diagnostics'] > 3, ALIVE_S):
            raise RuntimeError('the graph has no diagnostics')
        client.receive(lambda: all(client.received[name] for name, _ in outputs), SAMPLES_S)
        client.keeps_samples = False
        self._outputs = [
            name
            for name, _ in outputs
            if client.received[name] and name.rpartition('/')[2] not in RARE
        ]
        attacked = [node for node in self.nodes if self._only in ('', node.rpartition('/')[2])]
        if not attacked:
            raise ValueError(f'no node is named {self._only!r}: {", ".join(self.nodes)}')
        self._endpoints = client.endpoints(attacked)
        client.advertise(self._endpoints)
        self._load_models()

    def _load_models(self) -> None:
        """Search by words once: the models that the first search loads are not growth."""
        for node in self.nodes:
            if node.endswith('/memory'):
                request = QueryMemory.Request(text='a red car')
                self._client.call(f'{node}/query', QueryMemory, request, RECOVERY_S)

    def run(
        self,
        count: int,
        on_progress: Callable[[Result], None] = lambda _: None,
        seconds: float = math.inf,
    ) -> None:
        """Send `count` messages or some more, the same number to each topic, and to each service.

        No endpoint is attacked after `seconds`.
        """
        baseline: dict[str, float] = {}
        turn, begun = 0, time.monotonic()
        until = begun + seconds
        while (sent := self.result.sent.total()) < count and time.monotonic() < until:
            done = max(sent / count, (time.monotonic() - begun) / seconds)
            if done >= WARM_UP and not baseline:
                baseline = self._memory()
            self._attack(turn, until)
            turn += 1
            self.result.rss_mb = self._memory()
            on_progress(self.result)
        self._client.receive(lambda: False, 1.5)  # also the last diagnostics
        self.result.rss_mb = {
            name: mb - baseline.get(name, mb) for name, mb in self._memory().items()
        }
        self._check_outputs()
        self._note_deaths({})
        self.result.exceptions = {n: c for n, c in self._client.exceptions.items() if c}

    def _attack(self, turn: int, until: float) -> None:
        """Attack each endpoint, side by side with those of other nodes; none after `until`."""
        waiting, running = list(self._endpoints), dict[Endpoint, _Running]()
        while running or (waiting and time.monotonic() < until):
            busy = {node for endpoint in running for node in endpoint.nodes}
            for endpoint in waiting if time.monotonic() < until else ():
                if busy.isdisjoint(endpoint.nodes):
                    busy.update(endpoint.nodes)
                    seed = f'{self._seed}:{endpoint.name}:{turn}'
                    steps = self._steps(endpoint, Mutator(seed), TRIED if not turn else 1)
                    running[endpoint] = _Running(seed, steps)
            waiting = [endpoint for endpoint in waiting if endpoint not in running]
            self._client.spin_once()
            self._note_deaths(running)
            for endpoint, each in list(running.items()):
                if each.is_due and not self._goes_on(each):
                    del running[endpoint]

    def _goes_on(self, attack: _Running) -> bool:
        """Take the next step of an attack; return False at its end, or if a node is silent."""
        self._client.give_up(attack.pending)
        silent = attack.silent
        for node in silent:
            self._note_death(node, 'does not answer', [attack.seed], [node])
        return not silent and attack.advance()

    def _note_deaths(self, running: dict[Endpoint, _Running]) -> None:
        """Look for processes that were restarted, and end the attacks of their nodes."""
        before, self._restarts = self._restarts, self._count_restarts()
        for process in [each for each in before if self._restarts[each] != before[each]]:
            nodes = [node for node, of in self.nodes.items() if of == process]
            ended = [endpoint for endpoint in running if not set(nodes).isdisjoint(endpoint.nodes)]
            attacks = [running.pop(endpoint) for endpoint in ended]
            for each in attacks:
                self._client.give_up(each.pending)
            self._note_death(process, 'died', [each.seed for each in attacks], nodes)

    def _note_death(self, name: str, what: str, seeds: list[str], nodes: list[str]) -> None:
        """Count a death, and wait until the nodes are back."""
        self.result.deaths += 1
        cause = self._runner.processes[self.nodes.get(name, name)].cause
        self.result.log.append(f'{name} {what} after {", ".join(seeds)}: {cause}')
        for node in nodes:
            self._client.is_alive(node, RECOVERY_S)

    def _steps(self, endpoint: Endpoint, mutator: Mutator, tried: int) -> Iterator[list[Pending]]:
        """Send messages or requests, the largest of `tried` times as many.

        Yields the requests to wait for before the next step.
        """
        send = self._request if endpoint.is_service else self._publish
        return send(endpoint, mutator, tried)

    def _publish(
        self, endpoint: Endpoint, mutator: Mutator, tried: int
    ) -> Iterator[list[Pending]]:
        kind = load_type(endpoint.kind)
        samples = [*self._client.samples.get(endpoint.name, ()), b'']
        made = [
            mutator.typed(kind, mutator.random.choice(samples[:-1] or samples))
            for _ in range(MESSAGES * tried)
        ]
        for number, message in enumerate(largest(made, MESSAGES)):
            how, damaged = ('typed', message) if number % 2 else ('raw', mutator.raw(message))
            self.result.sent[how] += self._client.publish(endpoint, damaged)
            if number % BURST == BURST - 1:
                yield [p for n in endpoint.nodes for p in self._client.ping(n, BURST, ALIVE_S)]

    def _request(
        self, endpoint: Endpoint, mutator: Mutator, tried: int
    ) -> Iterator[list[Pending]]:
        kind, (node,) = load_type(endpoint.kind), endpoint.nodes
        requests = [mutator.typed(kind.Request, b'') for _ in range(REQUESTS * tried)]
        service = endpoint.name.rpartition('/')[2]
        for request in requests:
            if service == 'change_state':
                request.transition.id |= 128  # valid ones stop the node, as they should
                request.transition.label = 'x' + request.transition.label
            if service in PARAMETER_SERVICES:
                known = mutator.random.choices(self._parameters[node], k=2)
                request.parameters = [mutator.typed(type(parameter), b'') for parameter in known]
                for parameter, own in zip(request.parameters, known, strict=True):
                    parameter.name = parameter.name or own.name
                    parameter.value.type = mutator.random.choice((own.value.type, 0, 7, 200))
        requests = largest(requests, REQUESTS)
        self.result.sent['request'] += len(requests)
        pending = self._client.ask(endpoint.name, kind, requests, ALIVE_S)
        yield [*pending, *self._client.ping(node, 1, ALIVE_S)]
        self.result.unanswered += len(requests) - sum(each.future.done() for each in pending)
        if service in PARAMETER_SERVICES:
            yield self._client.restore(node, self._parameters[node], ALIVE_S)

    def _count_restarts(self) -> dict[str, int]:
        """Return the restarts of each process."""
        return {path: process.restarts for path, process in self._runner.processes.items()}

    def _memory(self) -> dict[str, float]:
        """Return the memory of the processes, megabytes."""
        return {
            path: own_memory_mb(process.pid)
            for path, process in self._runner.processes.items()
            if process.pid is not None
        }

    def _check_outputs(self) -> None:
        """Find the topics that have no messages any more."""
        received = self._client.received
        before = dict(received)

        def silent() -> list[str]:
            return [name for name in self._outputs if received[name] <= before[name] + 1]

        self._client.receive(lambda: not silent(), ALIVE_S)
        self.result.silent = silent()


def largest(messages: list[Any], count: int) -> list[Any]:
    """Return the largest messages; all in their order if there are no more than `count`."""
    if len(messages) <= count:
        return messages
    return sorted(messages, key=lambda message: len(serialize_message(message)))[-count:]
