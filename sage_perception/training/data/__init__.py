# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training data: crops of images, clips and bags."""
