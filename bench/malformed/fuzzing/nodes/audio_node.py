# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the node without rate limits."""

from fuzzing.unlimited import run

if __name__ == '__main__':
    run('audio_node')
