# `make` lists the targets; `make repro` and `make test` need nothing but Python >= 3.11, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Libraries send no telemetry, and the stages run with the environment's own Python.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export NO_ALBUMENTATIONS_UPDATE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export GIT_PYTHON_REFRESH := quiet
export DVC_NO_ANALYTICS := 1
# Stages and tests start hundreds of processes: what one compiles, the others read.
export PYTHONDONTWRITEBYTECODE :=

PORT ?= 5000
# Passed in the environment, not through make, so that their values are never interpreted by the shell.
export BASE PRESET SYSTEM EXTRAS

.DEFAULT_GOAL := help
.PHONY: help install extras sample repro test check lint types pytest test-timm test-slow ui docs bench dry diff reproduce reference pretrained clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(BIN)/.installed  ## create .venv with the pinned stack

# The programs of an environment name the folder that it was made in: moved or copied with the checkout, they do not
# start, or run the code of the other folder.
ELSEWHERE := $(shell made=$$(sed -nE '1,2s|^[^/]*(/.*/)python[^/"]*("[^/]*)?$$|\1|p' $(BIN)/mien 2>/dev/null); \
  test -z "$$made" || test "$$made" -ef $(BIN) || echo made-elsewhere)
.PHONY: made-elsewhere

$(BIN)/python: $(ELSEWHERE)
	@$(PYTHON) -c '' >/dev/null 2>&1 || { echo "mien needs Python 3.11 or newer, and $(PYTHON) does not run; run: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "mien needs Python 3.11 or newer, and $(PYTHON) is %d.%d; run: make PYTHON=python3.11 $(MAKECMDGOALS)" % v[:2])'
	@test -z "$(ELSEWHERE)" || { echo "$(VENV) was made in another folder: it is made again."; rm -rf $(VENV); }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)

INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

$(BIN)/.installed: pyproject.toml constraints.txt $(ELSEWHERE) | $(BIN)/python
	@echo "Installing the pinned stack into $(VENV) (about two minutes the first time) ..."
	@$(INSTALL) -e '.[dev]'
	@touch $@

extras: $(BIN)/python  ## add EXTRAS of pyproject.toml to .venv, such as EXTRAS=app,video, pinned and editable
	@test -n "$$EXTRAS" || { echo "name the extras, such as: make extras EXTRAS=app,video" >&2; exit 2; }
	@$(INSTALL) -e ".[$$EXTRAS]"

sample: install  ## draw the embedded sample if it is missing
	@test -d data/sample || $(BIN)/python -m tools.sample data/sample

repro: sample  ## run the changed stages of the DAG, then summarise the results
	@mien check
	@python -m pipelines.repro
	@mien status

test: install lint  ## all checks: lint, format, types, imports, tests, the DAG end to end
	@$(MAKE) --no-print-directory -j 2 pytest types test-timm  # mypy and timm need one core each, beside the tests

check: lint types  ## lint, format, types, import contracts

lint: install
	ruff check .
	ruff format --check .

types: install
	mypy
	lint-imports

SPREAD := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

pytest: install  ## the tests, including the DAG end to end on a small sample, without the slow ones
	pytest -m 'not slow' $(SPREAD)

# timm brings torchvision, which costs every training a second of imports: it has an environment of its own, which
# looks into .venv for all the rest.
TIMM := $(VENV)/with-timm
$(TIMM)/.installed: $(BIN)/.installed
	@$(BIN)/python -m venv $(TIMM)
	@$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
	  > $$($(TIMM)/bin/python -c 'import site; print(site.getsitepackages()[0])')/outer.pth
	@$(TIMM)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt timm
	@touch $@

test-timm: $(TIMM)/.installed  ## the tests of timm's backbones, with timm installed
	$(TIMM)/bin/python -m pytest tests/models/test_timm.py

test-slow: install  ## the slow tests
	pytest -m slow --timeout=3600 $(SPREAD)

ui: install  ## open the MLflow UI on the tracking store
	@mien ui --port $(PORT)

# The site's libraries are in an environment of their own too: nothing else needs them.
SITE := $(VENV)/with-docs
$(SITE)/.installed: constraints.txt | $(BIN)/python
	@$(BIN)/python -m venv $(SITE)
	@$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs-material
	@touch $@

docs: $(SITE)/.installed  ## build the site of docs/ in build/site; a broken link or anchor is an error
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict
	@echo "build/site is done; to read and search it: python3 -m http.server -d build/site"

bench: install  ## the main benchmarks, one after the other
	@for f in benchmarks/crop.py benchmarks/stage_start.py benchmarks/tracking.py; do echo "== $$f"; $(BIN)/python -m benchmarks.$$(basename $$f .py) || exit 1; done

dry: install  ## check dvc.lock against code and configuration; needs neither data nor cache
	@.ci/dry

BASE ?= origin/main
diff: install  ## metrics, parameters and plots against BASE (default origin/main), as Markdown and in build/diff
	@.ci/diff "$$BASE"

reproduce: install  ## run preset PRESET with the DVC remote's outs, push the results, register the model
	@.ci/reproduce "$$PRESET"

reference: install  ## run reference system SYSTEM (a preset) as an experiment of that name
	@.ci/reference "$$SYSTEM"

pretrained: install  ## train, export and measure the models in the package again (hours; docs/evidence/pretrained.md)
	@.ci/pretrained

clean:  ## remove the outs of the DAG (not data/, mlruns/ or .venv)
	rm -rf build .mien reports/*/ reports/*.csv reports/*.html
