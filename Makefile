.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON ?= python3
# The stages call `python`, which is then the environment's.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# Images of containers set it; without bytecode each stage, and DVC, compiles what it imports, which doubles its start.
unexport PYTHONDONTWRITEBYTECODE

# A zip of the repository has no Git, which DVC would look for.
READY := $(BIN)/.ready $(if $(wildcard .git),,.dvc/config.local)

.PHONY: help repro bundle tables test test-processors drills campaign lint lock ui release-check

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(READY)  ## Run what has changed of the pipeline, at the tier that params.yaml holds (smoke by default)
	@$(BIN)/python -m seal.data.listing
	$(BIN)/dvc repro
	@$(BIN)/python -m seal.study.machine
	@$(BIN)/python -m eval.report.ending

bundle: $(READY)  ## Write the record with its last weights and checksums as one file, which `seal check` checks
	$(BIN)/seal bundle

# A process for each core, up to four, with one thread each: processes of two threads slow one another tenfold.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadgroup

test: $(READY)  ## Run the tests, but the drills of jobs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not drill"

# As other processors round: ATen without vectors, MKL (which ATen's flag does not reach) by one path for all, oneDNN
# without AVX-512. Threads that wait sleep: more of them than cores, and each process would spin away the others' time.
PROCESSORS := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=AVX2

test-processors: $(READY)  ## Run the numerical tests as other processors round, with one thread and with two
	@for processor in $(PROCESSORS); do for threads in 1 2; do \
		echo "== $$processor, threads: $$threads"; \
		env $$processor OMP_NUM_THREADS=$$threads OMP_WAIT_POLICY=passive \
			$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "numerical and not slow" || exit 1; \
	done; done

DRILLS := tests/test_cluster_drills.py tests/test_cluster_remote.py tests/test_cluster_slurm.py

# Slurm on loopback needs root, and Debian's slurm-wlm and munge; without them its drills are left out.
# A process for each file: they share nothing, and one alone uses Slurm.
drills: $(READY)  ## Run the faults that jobs of `seal submit` may meet, of one machine, of a bucket and of Slurm
	@state=$$(mktemp -d) && trap '.ci/slurm/stop.sh $$state; rm -rf $$state' EXIT && \
	if command -v slurmctld >/dev/null && [ $$(id -u) = 0 ]; then eval "$$(.ci/slurm/start.sh $$state)"; fi && \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m drill $(DRILLS)

# Studies that are judged: their verdicts and their report are made of the runs beside them.
STUDIES := $(patsubst %/claims.json,%,$(wildcard expected/*/claims.json))

tables: $(READY)  ## Regenerate what is generated: verdicts and reports of expected/, the tables of artifact.md
	@for study in $(STUDIES); do \
		$(BIN)/python -m eval.claims --record $$study --out $$study/claims.json >/dev/null || exit 1; \
		$(BIN)/python -m eval.report --record $$study --claims $$study/claims.json --out $$study/report || exit 1; \
	done
	$(BIN)/python -m eval.report.artifact_tables
	$(BIN)/python -m seal.data.table

# Both go on where they were stopped; what they did is in scratch/.
campaign: $(READY)  ## Run the campaigns of bad inputs and of kills, from their seeds
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign --counts benchmarks/campaign.csv
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign.kills --counts benchmarks/kills.csv

lint: $(READY)  ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

ui: $(READY)  ## Show the runs in the MLflow UI on localhost
	$(BIN)/seal ui

lock: $(READY)  ## Resolve pyproject.toml into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra artifact --extra dev -o requirements.lock pyproject.toml

release-check: $(READY)  ## Check what a release promises: versions, lock, links, licences, an archive that runs
	$(BIN)/python .ci/release_check.py

.dvc/config.local:
	@printf '[core]\n    no_scm = true\n' > $@

# The environment, at the hashes of the lock; uv itself too. The mark is touched last: an interrupted set-up is run again.
$(BIN)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("found Python %d.%d, expected 3.11 or newer: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
