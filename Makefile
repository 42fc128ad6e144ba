# Two commands are enough on a fresh machine: `make demo` and `make test`. Everything is installed into .venv.
#
# TORCH_INDEX names another package index for torch, e.g. https://download.pytorch.org/whl/cu126 for CUDA or …/whl/cpu.
PYTHON ?= python3
TORCH_INDEX ?=
TORCH := torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-random test-deep lint reference docs clean
.DEFAULT_GOAL := demo

# torch first and pinned, so that nothing that follows can pull another build (gigabytes of CUDA) in.
$(VENV)/torch.stamp:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	touch $@

$(VENV)/run.stamp: $(VENV)/torch.stamp constraints.txt pyproject.toml $(PLUGINS)
	$(PIP) install --quiet -c constraints.txt $(foreach p,. $(dir $(PLUGINS)),-e $(p))
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(PIP) install --quiet -c constraints.txt -e .[test,lint,lora,serve,docs]
	touch $@

demo: $(VENV)/run.stamp  ## plan, draw and show one picture
	@$(BIN)/realcompo demo

# On as many processes as there are cores (conftest.py); each begins with a stretch of its own, and who is done takes from the others' ends.
SEED := $(or $(SEED),$(shell date +%s))
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal

test: $(VENV)/test.stamp  ## the whole suite
	$(PYTEST)

test-random: $(VENV)/test.stamp  ## the same in random order; the command shows the seed, and make test-random SEED=… repeats it
	$(PYTEST) -p randomly --randomly-seed=$(SEED)

test-deep: $(VENV)/test.stamp  ## long tests: kill storms, soaks, twenty times the examples of each property
	$(PYTEST) -m deep --hypothesis-profile=deep

lint: $(VENV)/test.stamp  ## linter, formatter and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: $(VENV)/test.stamp  ## docs/reference, from the specs and the source
	$(BIN)/python -m tools.reference

docs: reference  ## the site, in build/docs; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo build/docs/index.html

clean:  ## all that was built; not the pictures
	rm -rf $(VENV) build dist *.egg-info plugins/*/*.egg-info plugins/*/build
