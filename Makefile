# The whole workflow. `make quickstart` and `make check` set up everything that they need.
.PHONY: quickstart parquet check test sqlalchemy-suite format lint types bench wheel servers lock clean

VENV := .venv
# What the suite runs; empty for both series and all databases.
SUITE := --series 2.1 --backends sqlite psycopg --least 90
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet

quickstart: $(VENV)/quickstart ## load New York's flights into SQLite, beside SQLAlchemy's own bulk insert
	$(BIN)/maturin develop --release --quiet
	$(BIN)/python examples/quickstart.py

parquet: $(VENV)/dev ## the same from a Parquet file, of which no value becomes a Python object
	$(BIN)/maturin develop --release --quiet
	$(BIN)/python examples/parquet.py

check: format lint types test sqlalchemy-suite ## what CI runs

test: $(VENV)/dev ## Rust's tests, and Python's on real databases
	cargo test --quiet
	$(BIN)/maturin develop --release --quiet
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

sqlalchemy-suite: $(VENV)/dev ## SQLAlchemy's own tests, without fastbulk and with it
	$(BIN)/maturin develop --release --quiet
	$(BIN)/python tests/sqlalchemy_suite/compare.py $(SUITE)

format: $(VENV)/dev
	cargo fmt --check
	$(BIN)/ruff format --check

lint: $(VENV)/dev
	cargo clippy --quiet --all-targets -- --deny warnings
	$(BIN)/ruff check

types: $(VENV)/dev
	$(BIN)/mypy

bench: $(VENV)/dev ## every figure of the README, in one run
	$(BIN)/maturin develop --release --quiet
	$(BIN)/python benches/run.py

wheel: $(VENV)/quickstart
	$(BIN)/maturin build --release --locked --out dist

servers: ## the database servers that the tests start
	tests/install_servers.sh

# A virtual environment, on Debian with the package that it needs.
$(VENV)/quickstart: requirements/quickstart.txt
	python3 -m venv $(VENV) || { apt-get update && apt-get install --yes python3-venv && python3 -m venv $(VENV); }
	$(PIP) --upgrade 'pip>=25'
	$(PIP) --requirement $<
	touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/quickstart | servers
	$(PIP) --requirement $<
	touch $@

lock: ## pins what requirements/*.in name
	for list in quickstart dev; do \
		python3 -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet --requirement requirements/$$list.in && \
		$(VENV)-lock/bin/pip freeze > requirements/$$list.txt && rm -rf $(VENV)-lock; \
	done

clean:
	rm -rf target dist $(VENV)
