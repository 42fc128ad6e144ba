# Two commands are enough on a fresh machine: `make demo` and `make test`. All is installed into .venv, by tools/install.py; `make help` lists the rest.
#
# TORCH_INDEX names a package index for torch, e.g. https://download.pytorch.org/whl/cu126 for CUDA. Without it Linux gets the CPU build.
PYTHON ?= python3
PYTHONS := 3.11 3.12 3.13 3.14
export TORCH_INDEX ?=
export VENV := .venv
BIN := $(VENV)/bin
PROJECTS := pyproject.toml $(sort $(wildcard plugins/*/pyproject.toml))
INSTALL = $(BIN)/python tools/install.py

# Another index than the one that .venv's torch came from: fetch it again.
ifneq ($(TORCH_INDEX),)
ifneq ($(TORCH_INDEX),$(shell cat $(VENV)/torch.stamp 2>/dev/null))
$(shell rm -f $(VENV)/torch.stamp)
endif
endif

.PHONY: help demo test test-random test-deep lint check bench dist first-minute reference docs studio clean
.DEFAULT_GOAL := demo

$(VENV)/torch.stamp:
	@$(PYTHON) -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())' 2>/dev/null || { \
	  echo "error: RealCompo needs Python $(firstword $(PYTHONS)) to $(lastword $(PYTHONS)); $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)"; \
	  echo "  name another: make PYTHON=python3.12"; exit 2; } >&2
	@$(PYTHON) tools/install.py torch
	@echo '$(TORCH_INDEX)' > $@

$(VENV)/run.stamp: $(VENV)/torch.stamp constraints.txt $(PROJECTS)
	@$(INSTALL) run
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	@$(INSTALL) test
	@touch $@

$(VENV)/browser.stamp: $(VENV)/test.stamp plugins/realcompo-studio/page/package-lock.json
	@$(INSTALL) browser
	@touch $@

$(VENV)/ray.stamp: $(VENV)/test.stamp
	@$(INSTALL) ray
	@touch $@

$(VENV)/s3.stamp: $(VENV)/test.stamp
	@$(INSTALL) s3
	@touch $@

$(VENV)/dist.stamp: $(VENV)/test.stamp
	@$(INSTALL) dist
	@touch $@

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(VENV)/run.stamp  ## plan, draw and show one picture (also plain `make`)
	@$(BIN)/realcompo demo

# On as many processes as there are cores (conftest.py); each begins with a stretch of its own, and who is done takes from the others' ends.
SEED := $(or $(SEED),$(shell date +%s))
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal

test: $(VENV)/test.stamp  ## the whole suite
	$(PYTEST)

test-random: $(VENV)/test.stamp  ## the same in random order; the command shows the seed, and make test-random SEED=… repeats it
	$(PYTEST) -p randomly --randomly-seed=$(SEED)

test-deep: $(VENV)/browser.stamp $(VENV)/ray.stamp $(VENV)/s3.stamp  ## long tests: kill storms, soaks, fuzz, the page in a browser; the command shows the seed, and make test-deep SEED=… repeats it
	REALCOMPO_FUZZ_SEED=$(SEED) $(PYTEST) -m deep --hypothesis-profile=deep --hypothesis-seed=$(SEED)

lint: $(VENV)/test.stamp  ## linter, formatter, types, and the workflow of CI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet .github

check: lint test test-deep  ## what CI does

bench: $(VENV)/test.stamp  ## times of the usual things; fails never
	@$(BIN)/python -m tools.bench

dist: $(VENV)/dist.stamp  ## wheels and sdists in dist/, checked, installed alone and drawn with
	@$(BIN)/python -m tools.dist

first-minute:  ## docs/first-minute.txt: what `make demo` prints in a fresh clone
	@$(PYTHON) tools/first_minute.py

reference: $(VENV)/test.stamp  ## docs/reference, from the specs and the source
	$(BIN)/python -m tools.reference

docs: reference  ## the site, in build/docs; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo build/docs/index.html

studio:  ## the studio's page out of its source, checked and tested; needs node
	cd plugins/realcompo-studio/page && npm ci --no-audit --no-fund && npm test && npm run build

clean:  ## remove all that was built; not the pictures
	rm -rf $(VENV) build dist
