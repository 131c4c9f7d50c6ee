# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The shared parts of nodes: endpoints, parameters, QoS, lifecycle, diagnostics, conversions."""
