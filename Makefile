# `make report` runs the default study, `make test` all tests; each makes the environment when it is missing.
PYTHON ?= python3
BIN = .venv/bin
READY = .venv/requirements.txt
PORT ?= 5000

.PHONY: help report ui test test-cluster slurm bench results lint docs clean-env
.DEFAULT_GOAL = help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
	@echo '  With the environment: $(BIN)/snakemake --list-target-rules shows the stages that can be made on their own.'

report: $(READY) ## run the default study (minutes) and write results/report.html
	@$(BIN)/snakemake --cores all --resources gpu=8 --quiet host reason
	@if [ ! -e results/report.html ] || \
	    [ -n "$$(find results/figures results/tables results/run_config.yaml report -newer results/report.html)" ]; then \
	    $(BIN)/snakemake --report results/report.html --report-stylesheet report/style.css --quiet all; \
	fi
	@cat results/headline.txt
	@echo "The report is $(CURDIR)/results/report.html"

ui: $(READY) ## show the results in MLflow at 127.0.0.1:5000 (another port: PORT=...)
	@test -e results/mlflow/mlflow.db || { echo 'results/mlflow is not there: run the study first'; exit 1; }
	@echo "http://127.0.0.1:$(PORT)/#/experiments/1/runs"
	@MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --host 127.0.0.1 \
	    --port $(PORT) --workers 1 --backend-store-uri "sqlite:///$(CURDIR)/results/mlflow/mlflow.db"

test: $(READY) lint ## run all tests (those on the full data sets need SHAPPRUNE_DATA)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-cluster: slurm ## run the workflow on a Slurm that is started here for it (minutes; root on Debian)
	SHAPPRUNE_CLUSTER=1 $(BIN)/python -m pytest tests/cluster

# What test-cluster needs. Slurm's packages start nothing by themselves.
slurm: $(READY)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    { command -v slurmctld && command -v munged; } > /dev/null || { apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends slurm-wlm munge > /dev/null; } || \
	    echo 'Slurm and munge could not be installed; the tests say what is missing.'; \
	else echo 'Slurm is installed by root on Debian only; the tests say what is missing.'; fi
	@$(BIN)/python -c 'import snakemake_executor_plugin_slurm' 2> /dev/null || \
	    $(BIN)/python -m pip install --quiet --editable '.[cluster]' || \
	    echo 'The plugin for Slurm could not be installed.'

bench: $(READY) ## measure the engine against TorchPruner's way and estimators against converged values (minutes)
	$(BIN)/python -m benchmarks.speed lenet5 resnet20
	$(BIN)/python -m benchmarks.quality lenet5 resnet20 --images 20 --curve-images 20 --walks 20 --repeats 1 --baseline --again
	$(BIN)/python -m benchmarks.draw results/benchmarks/speed.csv results/benchmarks/quality.csv

results: $(READY) ## write the tables and figures of docs/results that are made of its CSV files
	$(BIN)/python -m benchmarks.low_data table --tables docs/results/low_data/budgets.csv

lint: $(READY) ## check style, types and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakemake --lint

docs: $(READY) ## write the documentation as a site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is $(CURDIR)/site/index.html"

# The copy is written last: an installation that was cut off is done again.
$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	cp requirements.txt $@

clean-env: ## delete the environment
	rm -rf .venv
