#!/usr/bin/env bash
# Checks the configuration of Prometheus, its rules, and when its alerts are raised. That the
# metrics named there exist is a test: `cargo test --package wasmyard-tests --test shop
# dashboards_and_rules`.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v promtool >/dev/null 2>&1 || scripts/setup.sh --for-tests
cd deploy/prometheus
promtool check config prometheus.yml
promtool test rules rules_test.yml rules_days_test.yml
