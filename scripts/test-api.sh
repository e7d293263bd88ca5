#!/usr/bin/env bash
# Checks the description of the API with a validator, and the API against the description
# with schemathesis: tests/tests/api/, which starts a shop for it. The tools are installed
# once, into the folder that cargo builds into.
set -euo pipefail
cd "$(dirname "$0")/.."

pins=scripts/test-api.txt
tools="${CARGO_TARGET_DIR:-target}/tools/test-api-$(sha256sum "$pins" | cut -c 1-12)"
if [ ! -x "$tools/bin/python" ]; then
    echo "test-api: installing what $pins names"
    mkdir -p "$(dirname "$tools")"
    # A folder of its own: two runs may come here at once.
    new=$(mktemp -d "$tools.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    python3 -m venv "$new" || {
        echo "test-api: python3 cannot make a venv: scripts/setup.sh --for-tests installs it" >&2
        exit 1
    }
    "$new/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins"
    # Whole or not at all; the first of two stays.
    mv --no-target-directory "$new" "$tools" 2>/dev/null || [ -x "$tools/bin/python" ]
    rm -rf "$new"
fi
# By its interpreter: the scripts in a venv know the path that it was made at.
WASMYARD_API_TOOLS="$(realpath "$tools")/bin/python" \
    exec cargo test --package wasmyard-tests --test api -- --ignored --nocapture
