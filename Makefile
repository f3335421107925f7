# make demo    see what kintrack does, in a minute
# make test    everything that must hold: check, then the tests
# make check   style, types, layers
# make docs    the documentation, into site/
#
# Each sets up its own environment in .venv first. PYTHON is any Python from 3.11 on.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DOCS := $(VENV)/.ready-docs

# torch comes first and by its version: this one is known to work, and what is installed later takes it as it is. From
# the index of CPU builds where TORCH_INDEX names it, else from wherever pip is set to look:
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check

# By name, because ruff would also lay out the code in the documents, whose comments are aligned by hand.
CODE := src tests scripts benchmarks

.PHONY: demo test check docs clean

demo: $(READY)
	$(BIN)/kintrack demo --output demo --overwrite

test: check
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY_DOCS)
	$(BIN)/zensical build

clean:
	rm -rf $(VENV) site demo

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kintrack needs Python 3.11 or newer; name one: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(PIP) install --quiet --editable ".[dev]"
	# The oracle of the metrics; of what it asks for, the tests need nothing that is not here.
	$(PIP) install --quiet --no-deps trackeval==1.3.0
	touch $@

$(READY_DOCS): $(READY)
	$(PIP) install --quiet --editable ".[docs]"
	touch $@
