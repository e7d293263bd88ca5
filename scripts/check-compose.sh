#!/usr/bin/env bash
# Checks the compose files against the compose specification's schema. The checker is
# installed once, into the folder that cargo builds into.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.39.0
tool="${CARGO_TARGET_DIR:-target}/tools/check-jsonschema-$version"
if [ ! -x "$tool/bin/check-jsonschema" ]; then
    echo "check-compose: installing check-jsonschema $version"
    rm -rf "$tool" "$tool.new"
    python3 -m venv "$tool.new" || {
        echo "check-compose: python3 cannot make a venv: scripts/setup.sh --for-tests installs it" >&2
        exit 1
    }
    "$tool.new/bin/python" -m pip install --quiet --disable-pip-version-check "check-jsonschema==$version"
    mv "$tool.new" "$tool"
fi
# By its interpreter: the scripts in a venv know the path that it was made at.
exec "$tool/bin/python" -m check_jsonschema --builtin-schema vendor.compose-spec \
    compose.yaml deploy/compose.observe.yaml
