# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed messages for the nodes of a running graph; see `bench/messages.py`."""
