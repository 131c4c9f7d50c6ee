# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs` messages and the values of the core, one module per message.

`<name>_to_msg` makes a message from a value, `<name>_from_msg` makes a value from a message. All
conversions are pure functions: the same arguments always give the same result.
"""

try:
    import sage_msgs.msg  # noqa: F401
except ImportError as error:
    raise ImportError(
        'cannot import sage_msgs: build the messages with `make build`, or with `colcon build` '
        'followed by `source install/setup.bash`'
    ) from error
