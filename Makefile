# make train | eval | test are all a newcomer needs; each installs what it needs first.
PROFILE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
CONFIG ?= examples/cpu_tiny.yaml
NAME ?=
ARGS ?=
SIX := aime24,aime25,amc23,math500,minerva,olympiad
LAST = $(shell ls -t runs/*/summary.json 2>/dev/null | sed 's,/summary.json$$,,;q')
DASHBOARD := $(or $(RAY_DASHBOARD),http://127.0.0.1:8265)
# name=... only where NAME is given: a config has a name of its own
NAMED = $(if $(NAME),name="$(NAME)")
# the run of runs/x/model is x; any other model is its path, so that no two of them meet in one folder
TITLE = $(shell printf %s "$(MODEL)" | sed 's,^$(CURDIR)/,,;s,^\./,,;s,/*$$,,;s,^runs/,,;s,/model$$,,;s,^/,,;s,/,--,g')
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-$(PROFILE)
COMPILE := $(BIN)/uv pip compile --quiet pyproject.toml requirements/openrlhf.in --extra dev --no-emit-find-links --no-emit-index-url --custom-compile-command "make lock"
LOCKS := cpu gpu-3.11 gpu-3.12
# one lock each, by its name: the two of the GPU profile differ in setuptools, of which vLLM wants an older one on Python 3.12
COMPILE_cpu := $(COMPILE) --python-version 3.11 --extra cpu --overrides requirements/cpu-overrides.txt $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",--torch-backend cpu)
COMPILE_gpu := $(COMPILE) --extra gpu --overrides requirements/gpu-overrides.txt --python-platform x86_64-manylinux_2_28
COMPILE_gpu-3.11 := $(COMPILE_gpu) --python-version 3.11
COMPILE_gpu-3.12 := $(COMPILE_gpu) --python-version 3.12

.PHONY: help setup train eval compare cluster-up cluster-down submit test test-all check docs browser bench-weights bench-teacher bench-verifier bench-eval bench-grade bench-driver bench-pages bench-vocabulary tiny-models lock lock-check gpu-install-check gpu-check doctor
help:
	@echo "make train       SCOPE on the embedded default -> runs/<name>/   (ARGS='key=value ...', NAME=, CONFIG=)"
	@echo "make eval        the last trained model against its student; or MODEL=path [BENCH=aime24,amc23] [N=32] [DATA=folder] [OUT=folder]"
	@echo "make compare     every algorithm with the same seeds, prompts and number of rollouts -> docs/compare.md   (SEEDS=1,2,3 STEPS=40 ALGORITHMS=scope,grpo ARGS=)"
	@echo "make cluster-up, submit, cluster-down   three Ray nodes on this machine, and the run submitted to them"
	@echo "make test        fast tests and one end-to-end run; make test-all: everything"
	@echo "make check       ruff and mypy; make lock-check: the locks still resolve; make gpu-install-check: the GPU one installs and imports"
	@echo "make doctor      what this machine has, what will be slow or fail, what to type   (CONFIG=)"
	@echo "make gpu-check   all that takes a GPU, tried on one card in minutes; a report for a bug -> runs/gpu-check/report.md"
	@echo "make docs        docs/config.md and docs/metrics.md anew from the code"
	@echo "make bench-weights, bench-teacher, bench-verifier, bench-eval, bench-grade, bench-driver, bench-vocabulary   ours against the published way, one JSON line each"
	@echo "make bench-pages what the pages cost for 1,000 steps of the last run and for 1,547 problems x 32 samples"
	@echo "make tiny-models rebuild the embedded student, teacher and problems"

setup: $(READY)
$(READY): $(wildcard requirements/$(PROFILE)*.lock) requirements/install.sh pyproject.toml
	@PYTHON="$(or $(PYTHON),python3)" VENV="$(VENV)" sh requirements/install.sh $(PROFILE)

doctor: $(READY)
	@$(BIN)/scope-train doctor $(if $(filter file,$(origin CONFIG)),,--config "$(CONFIG)") $(ARGS)

gpu-check: $(READY)
	@$(BIN)/scope-train gpu-check $(ARGS)

train: $(READY)
	@$(BIN)/scope-train run --config "$(CONFIG)" $(NAMED) $(ARGS)

# with MODEL: that model on the benchmarks; without: the student before and after the last training run, on its held-out problems
eval: $(READY)
ifdef MODEL
	@$(BIN)/scope-eval run --model "$(MODEL)" --benchmarks "$(or $(BENCH),$(SIX))" --samples $(or $(N),32) \
	    --out "$(or $(OUT),runs/eval/$(TITLE))" $(if $(DATA),--data-dir "$(DATA)") $(ARGS)
else
	@$(BIN)/scope-eval pair --run "$(if $(NAME),runs/$(NAME),$(or $(LAST),runs/tiny_scope))" $(if $(N),--samples $(N)) $(ARGS)
endif

# the same command continues; what it made is in runs/compare
compare: $(READY)
	@$(BIN)/scope-eval study --config "$(CONFIG)" $(if $(SEEDS),--seeds $(SEEDS)) $(if $(STEPS),--steps $(STEPS)) \
	    $(if $(ALGORITHMS),--algorithms $(ALGORITHMS)) $(ARGS)

# three Ray nodes on this machine, and a run submitted to them (or to RAY_DASHBOARD)
cluster-up: $(READY)
	@BIN=$(BIN) sh examples/cluster/local.sh up

cluster-down: $(READY)
	@BIN=$(BIN) sh examples/cluster/local.sh down

submit: $(READY)
	@$(BIN)/python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/api/version", timeout=10)' "$(DASHBOARD)" 2>/dev/null \
	    || { echo "error: no Ray answers at $(DASHBOARD); make cluster-up starts one here, RAY_DASHBOARD=http://HEAD:8265 names yours" >&2; exit 2; }
	@$(BIN)/ray job submit --address "$(DASHBOARD)" -- \
	    sh -c "cd \"$(CURDIR)\" && $(BIN)/scope-train run --config \"$(CONFIG)\" ray.address=auto $(subst ",\",$(NAMED)) $(ARGS)"

# the same tests of the same CPU build on every machine; what a GPU adds to it is for gpu-check
ifeq ($(PROFILE),gpu)
test test-all:
	@$(MAKE) --no-print-directory $@ PROFILE=cpu VENV=build/cpu
else
test: $(READY) browser
	@$(BIN)/python -m pytest -q -m "not slow" tests

test-all: $(READY) browser
	@$(BIN)/python -m pytest -q tests
endif

# for the test of the report page; where it cannot be installed that test is skipped, and says so
browser:
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	    echo "browser: installing chromium and chromium-driver"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
	    || echo "browser: not installed (it takes root and apt-get); install the packages chromium and chromium-driver to test the report page"; fi

check: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# the pages that are made from the code: docs/config.md, docs/metrics.md
docs: $(READY)
	@$(BIN)/python docs/reference.py

bench-weights: $(READY)
	@$(BIN)/python tests/bench_weights.py

bench-teacher: $(READY)
	@$(BIN)/python tests/bench_teacher.py

bench-eval: $(READY)
	@$(BIN)/python tests/bench_eval.py

# the first part of bench-eval alone; DATA_DIR names a folder of the benchmarks, for their golds
bench-grade: $(READY)
	@$(BIN)/python tests/bench_eval.py grade

bench-driver: $(READY)
	@$(BIN)/python tests/bench_driver.py

bench-pages: $(READY)
	@$(BIN)/python tests/bench_pages.py "$(if $(NAME),runs/$(NAME),$(LAST))"

bench-vocabulary: $(READY)
	@$(BIN)/python tests/bench_vocabulary.py

bench-verifier: $(READY)
	@$(BIN)/python tests/bench_verifier.py

# the GPU lock in a folder of its own, without CUDA and nvcc: imports, doctor, recipes; 8 GB, deleted afterwards
gpu-install-check: $(READY)
	@$(BIN)/python tests/check_gpu_install.py

tiny-models: $(READY)
	@$(BIN)/python examples/tiny/make.py

lock: $(READY)
	@$(foreach l,$(LOCKS),$(COMPILE_$l) -o requirements/$l.lock && ) true

# resolves every lock again without installing it; the copy makes the present pins the preference
lock-check: $(READY)
	@mkdir -p build && $(foreach l,$(LOCKS),cp requirements/$l.lock build/$l.lock && $(COMPILE_$l) -o build/$l.lock && ) true
	@for l in $(LOCKS); do diff -u requirements/$$l.lock build/$$l.lock && echo "$$l.lock resolves to itself"; done
