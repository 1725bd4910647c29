# `make help` prints the targets with the text after ##.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo dev estimate move test check bench sandbox docs screenshots lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# The lock pins every package by its hash, so exactly the same files are installed next year.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; choose one with: make PYTHON=python3.12 …")'
	@echo "Installing into .venv (once; about a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/ready ## sync seven days from a local sandbox and print the metrics
	@$(BIN)/python -m zipchat_dagster.demo

dev: .venv/ready ## start Dagster on your chat, or on a sandbox if .env has no key; PORT=… chooses the port
	@$(BIN)/python -m zipchat_dagster.demo dev $(if $(PORT),--port $(PORT))

estimate: .venv/ready ## estimate the cost of a backfill: make estimate FIRST=2026-01-01 LAST=2026-01-31
	@$(BIN)/python -m zipchat_dagster.estimate_cli --first "$(FIRST)" --last "$(LAST)"

move: .venv/ready ## copy a file into a lake, or back: make move FROM=data/warehouse.duckdb TO=ducklake:postgres:…
	@$(BIN)/python -m zipchat_dagster.move_cli "$(FROM)" "$(TO)"

test: .venv/ready ## run the tests
	$(BIN)/python -m pytest

check: .venv/ready ## check lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready ## measure completeness, cost and speed; SECTIONS=… chooses what
	$(BIN)/python -m benchmarks $(SECTIONS)

sandbox: .venv/ready ## serve an invented chat over HTTP, to develop against without a key
	@$(BIN)/python -m zipchat_dagster.sandbox

docs: .venv/ready ## regenerate the generated pages in docs/
	$(BIN)/python -c 'from zipchat_dagster.warehouse.tables import markdown; print(markdown(), end="")' > docs/tables.md
	$(BIN)/python -c 'from zipchat_dagster.warehouse.dbt_sources import dbt_sources; print(dbt_sources(), end="")' > docs/dbt_sources.yml
	$(BIN)/python -m zipchat_dagster_tests.test_recipes

screenshots: .venv/ready ## retake the pictures in docs/, by running the browser tests
	THOROUGH=1 UI_SCREENSHOTS=docs $(BIN)/python -m pytest zipchat_dagster_tests/test_ui.py \
		zipchat_dagster_tests/report/test_page.py zipchat_dagster_tests/report/test_chats_page.py

# requirements.lock is for working on the project, the other two for the container image. Existing
# pins are kept unless UPGRADE is set, so the files stay the same, byte for byte.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	$(if $(UPGRADE),--upgrade) --no-annotate --no-header pyproject.toml

lock: .venv/ready ## write the lock files from pyproject.toml; UPGRADE=1 takes the newest versions
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra dev --extra deploy --extra lake -o requirements.lock
	$(LOCK) --extra deploy --extra lake -c requirements.lock -o deploy/requirements.lock
	$(LOCK) --extra deploy --extra kubernetes --extra lake -c requirements.lock -o deploy/requirements-kubernetes.lock

clean: ## remove the environment, caches, and the data of demo, dev and sandbox
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info \
		$(foreach name,demo dev sandbox sandbox_server,data/$(name).* data/$(name)_published.* data/$(name)_report.html)
