# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Inference backends: ONNX Runtime and torch."""
