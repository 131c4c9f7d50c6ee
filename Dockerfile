# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
#
#   docker build --build-arg ROS_DISTRO=jazzy -t sage:jazzy .
#
# ROS_DISTRO: humble, jazzy or lyrical.

ARG ROS_DISTRO=jazzy

FROM ros:${ROS_DISTRO}-ros-base AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /sage

# Dependencies are installed again only when a manifest changes.
COPY package.xml src/sage/package.xml
COPY sage_msgs/package.xml src/sage/sage_msgs/package.xml
COPY requirements/robot.txt src/sage/requirements/robot.txt
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && DEBIAN_FRONTEND=noninteractive rosdep install -y --ignore-src \
        --from-paths src/sage src/sage/sage_msgs \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages /opt/sage \
    && /opt/sage/bin/pip install --no-cache-dir -r src/sage/requirements/robot.txt
ENV VIRTUAL_ENV=/opt/sage
ENV PATH=/opt/sage/bin:$PATH

COPY . src/sage
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && colcon build --base-paths src/sage src/sage/sage_msgs
ENTRYPOINT ["/sage/src/sage/docker/entrypoint.sh"]

# The launch files, run by the launch and launch_ros of the distribution.
FROM base AS test
RUN pip install --no-cache-dir hypothesis
WORKDIR /sage/src/sage
CMD ["python3", "-m", "pytest", "test/launch"]

FROM base AS sage
CMD ["sage", "--help"]
