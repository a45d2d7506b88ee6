# Everything the book needs is one word: `make help` lists the words. Each sets up what it needs.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup book test lint unit coverage notebooks html check-book test-cluster chapters lab pictures bench lock gpu clean

PY := .venv/bin/python
CHAPTER ?=
# Test processes; each may load TensorFlow and PyTorch, about 1 GB.
JOBS ?= 2

# Reduction order depends on the number of threads: with one, a run repeats.
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 0
export PYTHONHASHSEED ?= 0

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 @/p' $(MAKEFILE_LIST) | sed '/@/s/@/	/' | expand -t 20
	@echo
	@echo "  PYTHON=/path/to/python3.12 chooses the Python of a new .venv; CHAPTER=softmax chooses one chapter."

setup:  ## create or update .venv from requirements.lock
	@python=''; \
	for p in $(or $(PYTHON),$(PY) python3 python3.13 python3.12 python3.11 python); do \
	  if "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then python="$$p"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "dlbook needs Python 3.11, 3.12 or 3.13 and found none: install one, or name it with PYTHON=/path/to/python3.12." >&2; \
	  exit 1; \
	fi; \
	"$$python" tools/setup.py

book: setup html  ## build the HTML and say where it is
	@echo
	@echo "The book is in $(CURDIR)/_build/html"
	@echo "Open _build/html/index.html in a browser; it needs no network."

test: setup lint unit html check-book notebooks  ## everything: lint, unit tests, book, checks of the HTML, notebooks
	@echo "All tests passed."

lint: setup  ## ruff, and the rules for chapters
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m tools.chapters --check $(CHAPTER)

UNIT = $(PY) -m pytest tests --ignore-glob='tests/test_book*' -n $(JOBS) --dist loadfile -q

unit: setup  ## unit tests
	@$(UNIT)

coverage: setup  ## unit tests that trace which lines of dlbook they run, which takes two thirds longer
	@$(UNIT) --cov=dlbook --cov-branch --cov-report=term --cov-fail-under=95

# Old doctrees hide errors: a second build would not read the failing page again, and succeed. Old pages outlive theirs.
html: setup
	@rm -rf _build/.doctrees _build/html
	@$(PY) -c 'from jupyter_book.cli.main import main; main()' build . -n -W --keep-going

check-book: setup  ## tests of the built HTML (run after `make book`)
	@$(PY) -m pytest tests/test_book*.py -n $(JOBS) --dist loadfile -q

notebooks: setup  ## run every chapter again and compare its outputs
	@DLBOOK_NBVAL_TOLERANCE=1 $(PY) -m pytest --nbval --nbval-current-env -n $(JOBS) --dist loadfile -q \
	  $(if $(CHAPTER),chapters/$(CHAPTER).ipynb,chapters)

test-cluster: setup  ## a search on two hosts with PostgreSQL (as root on Linux, with postgresql and iproute2)
	@$(PY) -m pip install --quiet "psycopg[binary]>=3.2"
	@DLBOOK_CLUSTER=1 $(PY) -m pytest tests/test_cluster.py -q

chapters: setup  ## execute chapters in a clean kernel and store their outputs (CHAPTER=name for one)
	@$(PY) -m tools.chapters $(CHAPTER)

lab: setup  ## JupyterLab on the chapters
	@$(PY) -m jupyterlab chapters

pictures: setup  ## draw the social card and the README's page again (after `make book`)
	@$(PY) -m tools.pictures

# On two cores; NumPy's small products are faster on one.
bench: export OMP_NUM_THREADS = 2
bench: export OPENBLAS_NUM_THREADS = 1
bench: setup  ## run the benchmarks on two cores, and write their tables into benchmarks/README.md (15 min)
	@for script in trials engines memory studies; do echo "== $$script"; $(PY) -m benchmarks.$$script || exit 1; done
	@echo "== overhead"; OMP_NUM_THREADS=1 $(PY) benchmarks/overhead.py --seconds 30
	@$(PY) -m benchmarks.report

lock: setup  ## write requirements.lock from pyproject.toml (UPGRADE=1 takes newer versions)
	@$(PY) -m pip install --quiet uv
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(PY) -m tools.lock $(if $(UPGRADE),--upgrade)

gpu: setup  ## for an NVIDIA GPU: replace the CPU builds in .venv by CUDA builds, add CuPy
	@$(PY) tools/setup.py --gpu

clean:  ## delete what the build wrote; .venv stays
	@rm -rf _build .ruff_cache .coverage* build dlbook.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
