# What a user types, and what CI runs: the same recipes.

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR

.PHONY: help up build test test-api test-saga lint setup bench bench-quick bench-platform bench-growth bench-count bench-search bench-build bench-guests bench-drivers

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: setup ## Install what is missing, build everything, and serve the shop here
	cargo build --release --package wasmyard
	exec "$(CARGO_TARGET_DIR)/release/wasmyard" up --local

build: ## Build the host and every component
	cargo build --release --package wasmyard
	"$(CARGO_TARGET_DIR)/release/wasmyard" build

test: ## Run every test
	scripts/setup.sh --for-tests
# The lab's exercises run the real program, which the line after this one does not build.
# With the tests in the same build both share one set of compiled crates.
	cargo build --workspace --tests --bins
	cargo test --workspace --no-fail-fast

test-saga: ## The long form of the sagas' tests: 300 kills under load, 20 runs of a thousand buyers
	scripts/setup.sh --for-tests
	cargo build --workspace --tests --bins
	WASMYARD_TEST_SAGA=long cargo test --package wasmyard-tests --test saga -- --nocapture --test-threads 1 buyers kills

test-api: ## Make up thousands of requests from the API's description, and check the answers
	scripts/setup.sh --for-tests
	scripts/test-api.sh

lint: ## Format, clippy, documentation, licences, compose.yaml, alerts; nothing may be left over
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps
	cargo deny check licenses bans sources
	scripts/check-compose.sh
	scripts/check-prometheus.sh
	cd host/assets/swagger-ui && sha256sum --check --strict --quiet SHA256SUMS

bench: bench-build ## Measure Wasmyard beside a native peer: about 8 minutes
	"$(CARGO_TARGET_DIR)/release/bench" compare

bench-quick: bench-build ## The same in 2 minutes, for a look
	"$(CARGO_TARGET_DIR)/release/bench" compare --quick

bench-platform: build bench-guests bench-drivers ## What deploys, instances and calls cost beside bare wasmtime, and a start
	cargo bench --package wasmyard-bench-platform --bench costs
	"$(CARGO_TARGET_DIR)/debug/start"

bench-growth: build bench-guests bench-drivers ## One host with 1 to 1,000 services
	"$(CARGO_TARGET_DIR)/debug/growth"

bench-count: build bench-guests bench-drivers ## Instructions per request, against the stored figures; ACCEPT=1 stores new ones
	"$(CARGO_TARGET_DIR)/debug/count" $(if $(ACCEPT),--accept)

bench-search: ## What a search costs among 100,000 products: 6 minutes, for bench/NOTES.md
	scripts/setup.sh --for-tests
	cargo test --package wasmyard-tests --test shop what_a_search_ -- --ignored --nocapture

# The measured host is a release build; what drives it need not be, and is built as the
# tests are, so that both share one set of compiled crates.
bench-drivers:
	scripts/setup.sh --for-tests
	cargo build --workspace --tests --bins

bench-build: bench-guests
	scripts/setup.sh --for-bench
	cargo build --release --package wasmyard --package native-shop --package wasmyard-bench

bench-guests:
	cargo build --profile component --target wasm32-wasip2 \
		--package users --package products --package orders --package hello --package caller

setup:
	scripts/setup.sh
