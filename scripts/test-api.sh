#!/usr/bin/env bash
# Checks the description of the API with a validator, and the API against the description
# with schemathesis: tests/tests/api.rs, which starts a shop for it. The tools are installed
# once, into the folder that cargo builds into.
set -euo pipefail
cd "$(dirname "$0")/.."

pins=scripts/test-api.txt
tools="${CARGO_TARGET_DIR:-target}/tools/test-api-$(sha256sum "$pins" | cut -c 1-12)"
if [ ! -x "$tools/bin/python" ]; then
    echo "test-api: installing what $pins names"
    rm -rf "$tools.new"
    python3 -m venv "$tools.new" || {
        echo "test-api: python3 cannot make a venv: scripts/setup.sh --for-tests installs it" >&2
        exit 1
    }
    "$tools.new/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins"
    mv "$tools.new" "$tools"
fi
# By its interpreter: the scripts in a venv know the path that it was made at.
WASMYARD_API_TOOLS="$(realpath "$tools")/bin/python" \
    exec cargo test --package wasmyard-tests --test api -- --ignored --nocapture
