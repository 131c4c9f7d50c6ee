# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The base of nodes that hold a device or a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode as RosLifecycleNode
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from sage_perception.core.text import one_line
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.local_bus import LocalBus


class LifecycleNode(Endpoints, RosLifecycleNode):
    """A node with a lifecycle.

    Subclasses implement `configure` and `activate`, and `deactivate` and `cleanup`, which undo
    them. Each may raise `ConfigurationError` or any other exception. `active` is True while the
    node is in the active state. The parameter `autostart` is required.
    """

    def __init__(self, name: str, bus: LocalBus | None = None, **options: Any):
        RosLifecycleNode.__init__(self, name, **options)
        self.active = False
        self._starting = False
        self._failure: Exception = RuntimeError('no transition has failed')
        with self.destroyed_on_failure():
            self.open(bus)
            if self.parameters.values.get('require_signatures'):
                self._refuse_transitions()
            if self.parameters.autostart:
                self._autostart()

    def _refuse_transitions(self) -> None:
        """Refuse transitions by the service of rclpy, whose requests cannot be signed."""
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = self._refuse

    def _refuse(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        label = one_line(request.transition.label)[:80]
        self.get_logger().warning(
            f'transition {label or request.transition.id} is refused: this node requires '
            'signatures, so an operator must sign the request, see sage request lifecycle --help',
            throttle_duration_sec=5.0,
        )
        response.success = False
        return response

    def change_state(self, transition: int) -> None:
        """Perform a transition, one of `lifecycle_msgs/Transition`; shutdown from any state.

        Raises `ValueError` with the reason if it fails.
        """
        triggers = {
            Transition.TRANSITION_CONFIGURE: self.trigger_configure,
            Transition.TRANSITION_CLEANUP: self.trigger_cleanup,
            Transition.TRANSITION_ACTIVATE: self.trigger_activate,
            Transition.TRANSITION_DEACTIVATE: self.trigger_deactivate,
            Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: self.trigger_shutdown,
            Transition.TRANSITION_INACTIVE_SHUTDOWN: self.trigger_shutdown,
            Transition.TRANSITION_ACTIVE_SHUTDOWN: self.trigger_shutdown,
        }
        if transition not in triggers:
            raise ValueError(f'{transition} is not a transition that can be requested')
        try:
            result = triggers[transition]()
        except RuntimeError as error:  # shutdown from a state that does not have it
            raise ValueError(f'transition {transition} is rejected: {one_line(error)}') from None
        if result != TransitionCallbackReturn.SUCCESS:
            raise ValueError(f'transition {transition} failed: {one_line(self._failure)}')

    def _autostart(self) -> None:
        """Configure and activate the node; raise the exception of a transition that fails."""
        self._starting = True
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise self._failure
        self._starting = False

    def configure(self) -> None:
        """Acquire the resources of the node."""

    def activate(self) -> None:
        """Start working."""

    def deactivate(self) -> None:
        """Stop working."""

    def cleanup(self) -> None:
        """Release the resources that `configure` acquired."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call `configure`; on an exception stay unconfigured and log it."""
        return self._transition(self.configure, TransitionCallbackReturn.FAILURE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call `activate`; on an exception stay inactive and log it."""
        result = self._transition(self.activate, TransitionCallbackReturn.FAILURE)
        self.active = result == TransitionCallbackReturn.SUCCESS
        return super().on_activate(state) if self.active else result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call `deactivate`; on an exception go through `on_error`."""
        self.active = False
        result = self._transition(self.deactivate, TransitionCallbackReturn.ERROR)
        succeeded = result == TransitionCallbackReturn.SUCCESS
        return super().on_deactivate(state) if succeeded else result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call `cleanup`; on an exception go through `on_error`."""
        return self._transition(self.cleanup, TransitionCallbackReturn.ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release all resources, from any state."""
        with self.lock:
            self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call `cleanup` and return to unconfigured, from where it can be configured again."""
        self.active = False
        return self._transition(self.cleanup, TransitionCallbackReturn.ERROR)

    def close(self) -> None:
        """Release the resources of the node."""
        if self.active:
            self.active = False
            self.deactivate()
        self.cleanup()

    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:
        # Up to Jazzy, a request for a transition that the current state does not have ends the
        # node. Later releases of rclpy reject it, as this method does.
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)
        except RuntimeError as error:
            self._failure = error
            self.get_logger().error(f'transition {transition_id} is rejected: {error}')
            return TransitionCallbackReturn.ERROR

    def destroy_node(self) -> None:
        """Destroy the node and its state machine."""
        super().destroy_node()
        # rclpy does not destroy the state machine, which keeps the node and so the participant
        # alive: its 64 MiB of shared memory would stay in /dev/shm after every run.
        self._state_machine.destroy_when_not_in_use()

    def _transition(
        self, work: Callable[[], None], otherwise: TransitionCallbackReturn
    ) -> TransitionCallbackReturn:
        # rclpy drops the exceptions of transitions without a log message.
        try:
            with self.lock:
                work()
        except Exception as error:  # noqa: BLE001
            self._failure = error
            if not self._starting:
                self.get_logger().error(f'{type(error).__name__}: {error}')
            return otherwise
        return TransitionCallbackReturn.SUCCESS
