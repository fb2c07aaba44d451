# `make demo` and `make test` need only Python (3.10 or later) and make; each makes .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test fuzz lint docs site bench gpu wheel other clean

# What pip says goes into a file, and is shown where it fails.
LOG := $(VENV)/install.log
QUIETLY = >> $(LOG) 2>&1 || { cat $(LOG); exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): minutes the first time; $(LOG) says what happens"
	@: > $(LOG)
	@$(BIN)/python -m pip install --upgrade pip $(QUIETLY)
	@$(BIN)/python -m pip install -c constraints.txt torch $(QUIETLY)
	@$(BIN)/python -m pip install -c constraints.txt -e ".[dev]" $(QUIETLY)
	@touch $@

demo: $(VENV)/.installed  ## train a spiking network on handwritten digits, write demo_out/
	@$(BIN)/python examples/digits.py

test: $(VENV)/.installed  ## the tests and the doctests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

fuzz: $(VENV)/.installed  ## thousands of random nets against a plain loop; a quarter of an hour
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --cases 5000

lint: $(VENV)/.installed  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/.docs  ## the documentation, in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -j auto docs docs/_build/html

site: $(VENV)/.docs  ## the documentation with its tutorials at a reduced size, for the tests in a browser
	SNNTORCH_TUTORIALS=small SNNTORCH_DOCS_EXECUTION=force OMP_NUM_THREADS=1 \
	  $(BIN)/python -m sphinx -W --keep-going -q -j auto docs docs/_build/small

$(VENV)/.docs: $(VENV)/.installed
	@$(BIN)/python -m pip install -c constraints.txt -e ".[docs]" $(QUIETLY)
	@touch $@

bench: $(VENV)/.installed  ## time the workloads beside the published peers; tens of minutes
	$(BIN)/python benchmarks/run.py

gpu:  ## the first run on a GPU: right, then fast; at most twenty minutes, with a PyTorch for CUDA in $(PYTHON)
	$(PYTHON) benchmarks/gpu_first.py

wheel: $(VENV)/.installed  ## wheel and sdist in dist: what is in them, and the wheel used in an empty environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist >> $(LOG)
	$(BIN)/python tests/wheel.py dist $(WITH)

OTHER ?= 2.14.1
other: WITH = --torch $(OTHER) --tests --pyargs snntorch tests/test_package.py tests/golden tests/_time/test_zoo.py \
  tests/_engine/test_operations.py tests/_engine/test_graph.py
other: wheel  ## the wheel and a part of the tests beside another PyTorch, in an environment of several GB that is removed

clean:
	rm -rf $(VENV) dist demo_out docs/_build .pytest_cache .hypothesis .ruff_cache
