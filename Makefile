# `make` lists the targets; each creates .venv first when it is missing or outdated.
SHELL = /bin/sh
BIN = .venv/bin
STAMP = .venv/.installed

help:       ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: $(STAMP) ## create .venv with all dependencies
$(STAMP): setup.cfg setup.py pyproject.toml tools/setup.sh
	@PYTHON='$(PYTHON)' tools/setup.sh
	@touch $@

demo: $(STAMP) ## apply all five models to synthetic data: out/demo/index.html
	$(BIN)/python examples/demo.py

test: $(STAMP) ## run the quick tests on all processors
	$(BIN)/python -m pytest -n auto --dist loadfile --durations 30

test-slow: $(STAMP) ## run the slow tests: trainings and examples
	$(BIN)/python -m pytest -n auto --dist worksteal --durations 50 -m "slow and not network"

test-peers: $(STAMP) ## compare annotation formats with the tools' own libraries
	@test -x .venv-peers/bin/datum || { python3 -m venv .venv-peers && .venv-peers/bin/pip install -q -r tests/peers/requirements.txt; }
	DENTALZOO_PEERS=$(CURDIR)/.venv-peers/bin/python $(BIN)/python -m pytest -m "" tests/peers

test-formats: $(STAMP) ## take 500 sets from each annotation format to each other, and damage 2,000
	DENTALZOO_ALL_SETS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m slow tests/data/formats/test_round_trips.py tests/data/formats/test_fuzz*.py

lint: $(STAMP) ## check style, format and types, the Dockerfile and the workflows
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

golden: $(STAMP) ## update tests/golden/ after an intended change
	$(BIN)/python -m pytest tests/models --update-golden

examples: $(STAMP) ## run every example in its quick form
	@set -e; for example in examples/*.py; do echo $$example; DENTALZOO_QUICK=1 $(BIN)/python $$example; done

notebooks: $(STAMP) ## write the examples as notebooks: out/notebooks
	$(BIN)/python tools/notebooks.py out/notebooks

bench: $(STAMP) ## run the benchmarks that need no data of yours
	@set -e; for bench in $(filter-out %/familiarity.py %/probes.py,$(wildcard benchmarks/*.py)); do echo $$bench; $(BIN)/python $$bench; done

table: $(STAMP) ## print the tables of README.md and docs/data_formats.md
	@$(BIN)/dentalzoo list --markdown
	@$(BIN)/python -c "from dentalzoo.data import formats; print(formats.markdown_table())"

docs: $(STAMP) ## check the documentation and build its site: out/site/index.html
	$(BIN)/python -m pytest tests/test_docs.py tests/test_site.py
	$(BIN)/python tools/example_pictures.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

page: $(STAMP) ## build the web page that applies the bundles in a browser: out/page/index.html
	tools/page.sh
	@echo "$(BIN)/python -m http.server --directory out/page shows it at http://localhost:8000"

site: page

clean:      ## remove build products and caches, but not .venv and runs/
	rm -rf build dist out/demo out/page page/node_modules page/public *.egg-info .pytest_cache .ruff_cache .coverage
	find dentalzoo tests -name __pycache__ -exec rm -rf {} +

.PHONY: help setup demo test test-slow test-peers test-formats lint golden examples notebooks bench table docs page site clean
