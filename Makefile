# The two main commands are `make demo` and `make test`. Both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= demo-f2at
CORES := $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
# At a low priority, or audit workers, whose own is the lowest, would wait for minutes where all cores are busy. The tests
# of a file stay together and share servers.
PYTEST := OMP_NUM_THREADS=1 nice -n 15 $(BIN)/pytest --durations 12 --dist loadfile --no-loadscope-reorder --numprocesses
FAST := $(CORES) -m "not slow"
# Half as many processes again as there are cores, since tests of servers wait a lot.
SLOW := $(shell expr $(CORES) + $(CORES) / 2) -m slow
# Threads of OpenMP sleep while they wait, unless told otherwise; the command `f2at` sees to that by itself.
export OMP_WAIT_POLICY ?= PASSIVE
# Python keeps what it compiles, be it told otherwise, or each of the hundreds of processes of the tests compiles it again.
unexport PYTHONDONTWRITEBYTECODE
# What pip would compile on one core is compiled on all of them; files that are none of Python's own version are left.
INSTALL := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

.PHONY: help demo serve test test-fast wheel format requirements sbom vulnerabilities clean

help:            ## list the commands
	@sed -n 's/^\([a-z-]*\): .*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.train      ## train, export, serve, predict and audit on handwritten digits; about 6 minutes on 2 cores
	$(BIN)/python demo.py

serve: $(VENV)/.serve      ## serve zoo/MODEL or bundles/MODEL (the demo's) at http://127.0.0.1:3000 until Ctrl-C
	$(BIN)/f2at serve $(firstword $(wildcard zoo/$(MODEL)) bundles/$(MODEL))

test: $(VENV)/.dev      ## lint, types, spelling and every test, the fast ones with the coverage that pyproject.toml requires
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --num-workers $(CORES)
	$(BIN)/codespell
	$(PYTEST) $(FAST) --cov --cov-report=term:skip-covered
	$(PYTEST) $(SLOW)

test-fast: $(VENV)/.dev      ## only the tests that take seconds
	$(PYTEST) $(FAST)

wheel: $(VENV)/.dev      ## build dist/f2at-VERSION-py3-none-any.whl, which `bentoml build` puts into a Bento
	$(BIN)/python -m hatchling build --target wheel

format: $(VENV)/.dev      ## format the code and apply lint fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

requirements: $(VENV)/.dev      ## pin the serving dependencies for the image, at the versions installed here
	$(BIN)/python deploy/closure.py > deploy/requirements.tmp
	mv deploy/requirements.tmp deploy/requirements.txt

sbom: build/tools      ## list the image's packages (CycloneDX) and their licences, from a fresh environment, into dist/
	rm -rf build/image && $(PYTHON) -m venv --without-pip build/image
	build/tools/bin/uv pip install --quiet --python build/image/bin/python --requirement deploy/requirements.txt
	mkdir -p dist
	build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file dist/sbom.cdx.json build/image/bin/python
	build/tools/bin/pip-licenses --python build/image/bin/python --with-urls --format markdown \
		--output-file dist/licences.md

vulnerabilities: build/tools      ## check the image's packages against public vulnerability databases; needs the internet
	build/tools/bin/pip-audit --requirement deploy/requirements.txt --no-deps --disable-pip --strict

clean:           ## remove the virtual environment and all build output
	rm -rf $(VENV) build dist runs bundles reports .f2at .coverage

build/tools: Makefile
	rm -rf $@ && $(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check \
		cyclonedx-bom==7.5.0 pip-audit==2.10.1 pip-licenses==5.5.5 uv==0.13.9

# Each environment extends the one before: serving (no PyTorch), training, development.
$(VENV)/.serve: pyproject.toml constraints.txt f2at/__init__.py
	@echo "Setting up $(VENV) for serving: a minute and 0.7 GB, once"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip  # the one that comes with Python may take twice as long
	$(INSTALL) --editable '.[serve]'
	@$(COMPILE)
	@touch $@

$(VENV)/.train: $(VENV)/.serve
	@echo "Setting up $(VENV) for training: a few minutes and 6 GB, once"
	$(INSTALL) --editable '.[all]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(INSTALL) --editable '.[dev]'
	@$(COMPILE)
	@touch $@
