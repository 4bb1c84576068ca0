# make demo and make test need a machine with Python (3.11 to 3.13) and make, and nothing else.
#
#   make demo    a fresh environment, then: data in, three models trained and compared, a report out
#   make test    the same environment with the tests' packages, then all tests
#   make lint    style, types, floors          make docs    the documentation, warnings are errors
#   make bench   what can be measured          make clean   remove the environment and what was built
#
# PYTHON=python3.12       another interpreter
# VENV=DIR                another place for the environment
# TORCH_INDEX=ADDRESS     where to take torch from: give the CPU index named on PyTorch's Get Started page for the small
#                         build without CUDA, where pip would not choose it by itself

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
WORKERS ?= 2

bin := $(VENV)/bin
torch := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.run
	$(bin)/rectitude demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-cache

docs: $(VENV)/.dev
	$(bin)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench:
	@echo "Each script prints what it measures and takes --help; benchmarks/README.md says how to compare."
	@ls benchmarks/*.py benchmarks/peers/*.py

clean:
	rm -rf $(VENV) docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# The stamps make an environment once and bring it up to date when the pins or the requirements change.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else f"Python 3.11 to 3.13 is needed, and $(PYTHON) is {sys.version.split()[0]}. Name another: make PYTHON=python3.12")'
	@echo "Making an environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
ifdef TORCH_INDEX
	@echo "Installing torch from $(TORCH_INDEX)"
	@$(bin)/python -m pip install --quiet --no-deps --index-url '$(TORCH_INDEX)' '$(torch)'
else
	@if $(bin)/python -m pip install --dry-run --quiet --report - -c constraints.txt '$(torch)' 2>/dev/null | grep -q '"name": "nvidia-'; then \
	  echo "Note: pip would install torch with CUDA here, several GB. For the small build without CUDA stop this and run:"; \
	  echo "  make $(MAKECMDGOALS) TORCH_INDEX=<the CPU index named on PyTorch's Get Started page>"; \
	fi
	@echo "Installing torch (a minute or two)"
	@$(bin)/python -m pip install --quiet -c constraints.txt '$(torch)'
endif
	@touch $@

$(VENV)/.run: $(VENV)/.torch constraints.txt pyproject.toml
	@echo "Installing rectitude (a minute)"
	@$(bin)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch constraints.txt pyproject.toml
	@echo "Installing rectitude and what its tests need (a few minutes)"
	@$(bin)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run
