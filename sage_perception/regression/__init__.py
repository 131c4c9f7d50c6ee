# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Replay testing: a bag through the pipeline without a graph, and the comparison of the result.

>>> result = replay_bag('bag', parameters=read_parameter_file('params.yaml'))
>>> differences = compare(result.summary, read_baseline(baseline_path('bag')).summary)

`replay_bag` runs the classes that the nodes run, with header stamps as the clock. It emits events
(`events`), from which `summary` and `timeline` are computed; `watch` derives the
same events from a running graph.
"""
