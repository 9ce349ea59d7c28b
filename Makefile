## make lab        create the environment if there is none, and open JupyterLab at the first notebook
## make test       add what the tests need, and run them: a few minutes
## make test-all   those, and what `make test` leaves out: notebooks, a browser, clones, kills at random moments
## make test-rest  only what `make test` leaves out
## make tour       run every notebook without a browser; readable pages in build/index.html
## make site       the whole course as pages in site/, to put on any web server or open from a disk
## make notebooks  build notebooks/*.ipynb again from notebooks/source/*.py
## make lint       look for mistakes in style, types and imports, and for notebooks that differ from their sources
## make clean      remove the environment and build/
##
## Settings, given as `make lab NAME=value`:
##   PYTHON        the Python to start from, 3.10 or newer             (python3)
##   TORCH_INDEX   where torch and torchvision come from (on Linux without an NVIDIA GPU their build for CPUs,
##                 https://download.pytorch.org/whl/cpu, if that answers; it saves 2.5 GB. Else pip's own index)
##   SSKD_DATASET  the images that the notebooks use, e.g. cifar10    (the embedded Fashion-MNIST)
##   LAB_FLAGS     more options for JupyterLab, e.g. --no-browser
##   WORKERS       how many processes run tests side by side          (2)
##   PYTEST_FLAGS  more options for pytest, e.g. -x

PYTHON ?= python3
TORCH_INDEX ?=
LAB_FLAGS ?=
WORKERS ?= 2
PYTEST_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin/python
PYTEST := $(BIN) -m pytest -n $(WORKERS) --dist worksteal
# What takes long; the markers are explained in pyproject.toml.
LONG := notebook or browser or environment or kill
CPU_INDEX := https://download.pytorch.org/whl/cpu
ANSWERS := import urllib.request; urllib.request.urlopen("$(CPU_INDEX)/torch/", timeout=5)
# Written last: an environment without the first file was never finished, and is made again from nothing.
READY := $(VENV)/ready
TESTS := $(VENV)/ready-for-tests

.DEFAULT_GOAL := help
.PHONY: help lab test test-all test-rest tour site notebooks lint clean

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

lab: $(READY)
	$(BIN) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_FLAGS)

test: $(TESTS)
	$(PYTEST) -m "not ($(LONG))" $(PYTEST_FLAGS)

test-all: test
	@$(MAKE) test-rest

test-rest: $(TESTS)
	$(PYTEST) -m "$(LONG)" $(PYTEST_FLAGS)

tour: $(TESTS)
	$(BIN) notebooks/build.py --html build

site: $(TESTS)
	$(BIN) notebooks/build.py --html site

notebooks: $(TESTS)
	$(BIN) notebooks/build.py

lint: $(TESTS)
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(BIN) -m mypy
	$(BIN) notebooks/build.py --check

clean:
	rm -rf $(VENV) build site

$(READY): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "The kit needs Python 3.10 or newer, and '$(PYTHON)' is: `"$(PYTHON)" --version 2>&1`"; \
	  echo "Install one and name it, for example: make lab PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot create environments: its modules venv and ensurepip are missing."; \
	  echo "On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@index="$(TORCH_INDEX)"; \
	if ! test -f $@; then \
	  "$(PYTHON)" -m venv --clear $(VENV) || exit 1; \
	  if test -z "$$index" && test "`uname -s`" = Linux && ! nvidia-smi -L >/dev/null 2>&1; then \
	    if "$(PYTHON)" -c '$(ANSWERS)' 2>/dev/null; then \
	      index=$(CPU_INDEX); echo "No NVIDIA GPU: torch comes in its build for CPUs, from $$index"; \
	    else \
	      echo "No NVIDIA GPU, but $(CPU_INDEX) does not answer: torch comes from pip's own index"; \
	    fi; \
	  fi; \
	fi; \
	rm -f $@ && \
	$(BIN) -m pip install --quiet "pip>=21.3" && \
	if test -n "$$index"; then $(BIN) -m pip install --index-url "$$index" torch torchvision; fi
	$(BIN) -m pip install --editable .
	@touch $@

$(TESTS): $(READY)
	$(BIN) -m pip install --editable ".[test]"
	@touch $@
