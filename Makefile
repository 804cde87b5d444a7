# Every target sets up what it needs. `make` lists them.

PYTHON ?= python3
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished
FOR_DOCS := $(VENV)/.installed-docs
PIP := python -m pip -qq --disable-pip-version-check

NEEDS_PYTHON = $(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "zforcing needs Python 3.11 or newer with venv; $(PYTHON) isn't that. Try: make PYTHON=python3.12" >&2; exit 1; }

RECIPES := switching-zforcing-aux switching-rnn

.PHONY: help install run $(RECIPES:%=run-%) test test-slow tests-of lint types docs notebooks format index \
  constraints build package clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with the pinned versions of everything

run: $(RECIPES:%=run-%) ## train, evaluate and sample Z-Forcing and an RNN, and compare them with the truth
	$(BIN)/zforcing table $(RECIPES:%=runs/%)

# A run that was stopped goes on from its last checkpoint; a finished one has nothing left to train.
$(RECIPES:%=run-%): run-%: install
	$(BIN)/zforcing train $* --run-dir runs/$* $(if $(wildcard runs/$*/config.yaml),--resume)
	$(BIN)/zforcing evaluate runs/$*
	$(BIN)/zforcing sample runs/$*

test: install ## the tests; with COVERAGE=1 also what they cover, 90 percent at least
	$(BIN)/python -m pytest -n 2 $(if $(COVERAGE),--cov=zforcing --cov-report=term:skip-covered --cov-fail-under=90)

test-slow: install ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

tests-of: install ## the tests of one room: make tests-of ROOM=bounds; without ROOM, how many each has
	@files="$$($(BIN)/python tools/room_tests.py $(ROOM))" && $(if $(ROOM),$(BIN)/python -m pytest -n 2 $$files,echo "$$files")

lint: install ## ruff's rules and format
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

types: install ## mypy, strict
	$(BIN)/python -m mypy

docs: $(FOR_DOCS) ## the site, into build/docs; a warning or a broken link is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q docs build/docs
	$(BIN)/python tools/check_site.py build/docs

notebooks: $(FOR_DOCS) ## run the tutorials, examples/*.ipynb, and keep what they show
	$(BIN)/python tools/notebooks.py

format: install ## apply ruff's fixes and format
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

index: install ## write the index of options and settings, which help and typos are answered from
	$(BIN)/python tools/write_index.py

build: install ## wheel and source distribution into dist/, without network
	$(BIN)/python -m hatchling build

package: install ## install wheel and sdist into a new environment and try them; the lowest versions too
	$(BIN)/python tools/check_package.py $(OLDEST_TORCH)

constraints: ## pin the newest versions in constraints.txt (torch: TORCH=2.13.0)
	@$(NEEDS_PYTHON)
	@echo "installing the newest versions into build/constraints (a few minutes) ..."
	@$(PYTHON) -m venv --clear build/constraints
	@build/constraints/bin/$(PIP) install 'torch==$(TORCH)' -e '.[dev,docs]'
	@sed -n '/^#/p' constraints.txt > build/constraints.txt
	@build/constraints/bin/$(PIP) freeze --all --exclude pip --exclude zforcing > build/constraints/freeze.txt
	@sed -E 's/\+.*//; /^(cuda-|nvidia-|triton=)/d' build/constraints/freeze.txt >> build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/constraints

clean: ## remove what tools left behind; .venv and runs/ stay
	rm -rf build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests tools -name __pycache__ -prune -exec rm -rf {} +

# .venv/.unfinished stands while pip works: a .venv in which pip was stopped can hold half a package, and is made anew.
$(INSTALLED): pyproject.toml constraints.txt
	@if [ -e $(UNFINISHED) ] || ! $(BIN)/$(PIP) --version >/dev/null 2>&1; then \
	  $(NEEDS_PYTHON); \
	  echo "creating $(VENV) ..."; \
	  rm -rf $(VENV) && mkdir $(VENV) && touch $(UNFINISHED) && $(PYTHON) -m venv $(VENV); \
	fi
	@echo "installing (a few minutes the first time) ..."
	@touch $(UNFINISHED)
	@$(BIN)/$(PIP) install -c constraints.txt -e '.[dev]'
	@rm $(UNFINISHED)
	@$(BIN)/python tools/check_install.py
	@touch $@

$(FOR_DOCS): $(INSTALLED)
	@$(BIN)/$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@
