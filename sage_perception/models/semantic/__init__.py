# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Codes of images and of texts in one space, and nouns for images."""
