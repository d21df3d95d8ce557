# The two commands that matter: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= demo-f2at
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo serve test test-fast format clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\): .*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.train      ## train, export, serve, predict and audit on handwritten digits; about 6 minutes on 2 cores
	$(BIN)/python demo.py

serve: $(VENV)/.serve      ## serve zoo/MODEL or bundles/MODEL (the demo's) at http://127.0.0.1:3000 until Ctrl-C
	$(BIN)/python -m serving serve $(firstword $(wildcard zoo/$(MODEL)) bundles/$(MODEL))

test: $(VENV)/.dev      ## lint, types and every test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

test-fast: $(VENV)/.dev      ## only the tests that take seconds
	$(BIN)/pytest -m "not slow"

format: $(VENV)/.dev      ## format the code and mend what lint can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:           ## remove the virtual environment and everything that was built
	rm -rf $(VENV) build dist runs bundles reports .f2at

# Each environment is the one before and more: serving (no PyTorch), training, development.
$(VENV)/.serve: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) for serving: a minute and 0.7 GB, once"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.train: $(VENV)/.serve
	@echo "Setting up $(VENV) for training: a few minutes and 6 GB, once"
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(INSTALL) --editable '.[train,dev]'
	@touch $@
