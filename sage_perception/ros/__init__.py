# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What every node shares: messages, QoS, parameters, lifecycle, diagnostics."""
