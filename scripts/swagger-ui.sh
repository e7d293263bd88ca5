#!/usr/bin/env bash
# Takes the files of Swagger UI that the host serves from the npm package, into
# host/assets/swagger-ui/. They are checked in as they come, so that nobody needs Node to
# build the host; package-lock.json there names the version and the package's digest, which
# npm checks. With --check nothing is written, and what differs is an error. `make lint` holds
# them against SHA256SUMS, which this writes too, without asking npm.
#
# For another version: change it in package.json there, then
#   npm install --package-lock-only --ignore-scripts --prefix host/assets/swagger-ui
# and run this.
set -euo pipefail
cd "$(dirname "$0")/../host/assets/swagger-ui"

files=(swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css favicon-32x32.png LICENSE NOTICE)

here=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp package.json package-lock.json "$folder"
# A package of its dependencies would report the installation to somebody.
(cd "$folder" && npm ci --ignore-scripts --silent)
for file in "${files[@]}"; do
    if [ "${1:-}" = --check ]; then
        cmp "$folder/node_modules/swagger-ui-dist/$file" "$here/$file"
    else
        install -m 644 "$folder/node_modules/swagger-ui-dist/$file" "$here/$file"
    fi
done
if [ "${1:-}" != --check ]; then
    sha256sum "${files[@]}" >SHA256SUMS
fi
