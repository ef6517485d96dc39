# Plain `make` prints the words below; every word first makes .venv when it is missing or old.
SHELL = /bin/sh
BIN = .venv/bin
STAMP = .venv/.installed

help:       ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: $(STAMP) ## make .venv with everything in it
$(STAMP): setup.cfg setup.py pyproject.toml tools/setup.sh
	@PYTHON='$(PYTHON)' tools/setup.sh
	@touch $@

demo: $(STAMP) ## find teeth and treatments, draw teeth, overlay defects, rebuild jaws: out/demo/
	$(BIN)/python examples/demo.py

test: $(STAMP) ## run the quick tests, on all processors
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(STAMP) ## run the slow tests: trainings, examples
	$(BIN)/python -m pytest -n auto --dist worksteal -m "slow and not network"

lint: $(STAMP) ## check style and format
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

golden: $(STAMP) ## write tests/golden/ anew after an intended change
	$(BIN)/python -m pytest tests/models --update-golden

examples: $(STAMP) ## run every example, small
	@set -e; for example in examples/*.py; do echo $$example; DENTALZOO_QUICK=1 $(BIN)/python $$example; done

bench: $(STAMP) ## run the side-by-side measurements
	@set -e; for bench in benchmarks/*.py; do echo $$bench; $(BIN)/python $$bench; done

table: $(STAMP) ## print the table of models for README.md
	@$(BIN)/dentalzoo list --markdown

docs: $(STAMP) ## check the links between the pages
	$(BIN)/python -m pytest tests/test_docs.py

clean:      ## remove build products and caches; .venv and runs/ stay
	rm -rf build dist out/demo *.egg-info .pytest_cache .ruff_cache .coverage
	find dentalzoo tests -name __pycache__ -exec rm -rf {} +

.PHONY: help setup demo test test-slow lint golden examples bench table docs clean
