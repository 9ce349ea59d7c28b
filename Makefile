## make lab        create the environment if there is none, and open JupyterLab at the first notebook
## make test       add what the tests need, and run them: a few minutes
## make test-all   those, and what `make test` leaves out: notebooks, a browser, clones, kills at random moments
## make test-rest  only what `make test` leaves out
## make tour       run every notebook without a browser; readable pages in build/index.html
## make site       the whole course as pages in site/, to put on any web server or open from a disk
## make notebooks  build notebooks/*.ipynb again from notebooks/source/*.py
## make colab      write a badge “Open in Colab” for REPO=owner/name into every notebook; runs nothing
## make student    write the notebooks without solutions and outputs into OUT (build/student)
## make instructor write them with solutions, answers and notes into OUT (build/instructor), and run them
## make assignments  write a course for nbgrader into OUT (build/assignments), and try it
## make grade      grade the folder SUBMISSIONS with the course in OUT, in restricted processes
## make bundle     pack the kit and its packages for a machine without a network into OUT (build/bundle)
## make class      write a class's folder into OUT (build/class); with REPO=owner/name a branch for nbgitpuller
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
##   REPO, BRANCH  for make colab and make class: the repository on GitHub as owner/name, and the branch
##                 (main for colab, student for class)
##   OUT           the folder that a command above writes
##   SUBMISSIONS   for make grade: the folder that has student/assignment/assignment.ipynb
##   PLATFORM, PYTHON_VERSION  for make bundle: e.g. win_amd64 and 3.12    (this machine's)

PYTHON ?= python3
TORCH_INDEX ?=
LAB_FLAGS ?=
WORKERS ?= 2
PYTEST_FLAGS ?=
REPO =
BRANCH =
OUT =
SUBMISSIONS =
PLATFORM =
PYTHON_VERSION =

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
GRADING := $(VENV)/ready-for-grading

.DEFAULT_GOAL := help
.PHONY: help lab test test-all test-rest tour site notebooks colab student instructor \
        assignments grade bundle class lint clean

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

colab: $(READY)
	@$(BIN) notebooks/colab.py '$(REPO)' '$(or $(BRANCH),main)'

student: $(TESTS)
	$(BIN) notebooks/variants.py student '$(or $(OUT),build/student)'

instructor: $(TESTS)
	$(BIN) notebooks/variants.py instructor '$(or $(OUT),build/instructor)'

assignments: $(GRADING)
	$(BIN) notebooks/assignments.py '$(or $(OUT),build/assignments)'

grade: $(GRADING)
	@test -n '$(SUBMISSIONS)' || { echo "Name the folder: make grade SUBMISSIONS=folder"; exit 1; }
	$(BIN) notebooks/grade.py '$(or $(OUT),build/assignments)' '$(SUBMISSIONS)'

bundle: $(TESTS)
	$(BIN) notebooks/bundle.py '$(or $(OUT),build/bundle)' --platform='$(PLATFORM)' \
	  --python-version='$(PYTHON_VERSION)' --torch-index='$(TORCH_INDEX)'

class: $(TESTS)
	$(BIN) notebooks/classroom.py $(if $(REPO),branch '$(REPO)' --branch='$(or $(BRANCH),student)',folder \
	  '$(or $(OUT),build/class)')

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

$(GRADING): $(TESTS)
	$(BIN) -m pip install --editable ".[grading]"
	@touch $@
