# The commands a person needs; `make help` lists them. Nothing but Python and pip is required.

PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
PYTEST_ARGS ?=

VENV := .venv
OLDEST := .venv-oldest
OLDEST_TRANSFORMERS := transformers==5.17.0
PIP := -m pip --disable-pip-version-check
PYTEST := -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help install demo test lint patch-tests-oldest wheel-check clean

# Tests and demo use nothing from the network, and models this small are fastest on one thread.
demo test patch-tests-oldest wheel-check: export HF_HUB_OFFLINE = 1
demo test patch-tests-oldest wheel-check: export HF_HUB_DISABLE_TELEMETRY = 1
demo test patch-tests-oldest wheel-check: export TOKENIZERS_PARALLELISM = false
demo test patch-tests-oldest wheel-check: export OMP_NUM_THREADS = 1

help:  ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed  ## Make .venv with the package and its development tools

demo: $(VENV)/installed  ## Read the shipped recordings with the shipped model, compressed and not
	$(VENV)/bin/hf-tokcomp demo

test: $(VENV)/installed  ## Run the whole test suite (PYTEST_ARGS="-k ltbm" for a part of it)
	$(VENV)/bin/python $(PYTEST) $(PYTEST_ARGS)

lint: $(VENV)/installed  ## Check style, formatting and types
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

patch-tests-oldest: $(OLDEST)/installed  ## Run the tests of the model patches on the oldest supported transformers
	$(OLDEST)/bin/python $(PYTEST) tests/patching $(PYTEST_ARGS)

wheel-check: $(VENV)/installed  ## Build the wheel, install it elsewhere and use it there
	$(VENV)/bin/python tests/wheel_check.py

clean:  ## Remove the environments and everything that was built
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Made once, and again when pyproject.toml changes. torch comes first, so that nothing else chooses its version.
$(VENV)/installed: pyproject.toml
	$(call make_environment,$(VENV))
	$(VENV)/bin/python $(PIP) install --editable ".[dev]"
	@touch $@

# The dev extra pins the newest transformers, so the tools the tests need are named here.
$(OLDEST)/installed: pyproject.toml
	$(call make_environment,$(OLDEST))
	$(OLDEST)/bin/python $(PIP) install --editable . "$(OLDEST_TRANSFORMERS)" hypothesis pytest pytest-xdist scipy
	@touch $@

define make_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(1)
	$(1)/bin/python $(PIP) install "$(TORCH)"
endef
