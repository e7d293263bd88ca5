#!/usr/bin/env bash
# Installs what `make up` and `make test` need and this machine lacks, and says what.
# Asks nothing, changes nothing that is there, and is quick when there is nothing to
# do. With --for-tests also what the tests need, with --for-bench what the measurements
# need.
#
# Postgres and Redis are left out when DATABASE_URL and REDIS_URL name others; the
# tests always need them.
set -euo pipefail
cd "$(dirname "$0")/.."

for_tests=false
for_bench=false
case "${1:-}" in
'') ;;
--for-tests) for_tests=true ;;
--for-bench) for_tests=true for_bench=true ;;
*)
    echo "usage: scripts/setup.sh [--for-tests | --for-bench]" >&2
    exit 2
    ;;
esac

say() { echo "set-up: $*"; }
fail() {
    echo "set-up: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# ---- Rust and the target of the components ----

have cargo || fail "Rust is missing: see https://rustup.rs, then run this again"

target=wasm32-wasip2
libraries="$(rustc --print sysroot)/lib/rustlib/$target/lib"
if [ ! -d "$libraries" ]; then
    have rustup || fail "the Rust target $target is missing, and there is no rustup to add it"
    say "adding the Rust target $target"
    rustup target add "$target"
fi

# ---- Debian packages ----

postgres_servers() { ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null; }

packages=()
# The linker of Rust programs, and the C compiler that some crates need.
have cc || packages+=(build-essential)
# For the exercises.
have curl || packages+=(curl)
have jq || packages+=(jq)
if $for_tests || [ -z "${REDIS_URL:-}" ]; then
    have redis-server || packages+=(redis-server)
fi
have redis-cli || packages+=(redis-tools)
if $for_tests || [ -z "${DATABASE_URL:-}" ]; then
    have initdb || [ -n "$(postgres_servers)" ] || packages+=(postgresql)
fi
have psql || packages+=(postgresql-client)
if $for_tests; then
    have ab || packages+=(apache2-utils)
    # Checks compose.yaml, and tries the API out.
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    # In front of two hosts.
    [ -x /usr/sbin/nginx ] || have nginx || packages+=(nginx-light)
    # Opens the pages.
    have chromium || packages+=(chromium)
    have chromedriver || packages+=(chromium-driver)
    # Scrapes a host in a test; its promtool checks the deployment's rules.
    have promtool || packages+=(prometheus)
    # Counts instructions.
    have callgrind_control || packages+=(valgrind)
fi
if $for_bench; then
    have wrk || packages+=(wrk)
    have h2load || packages+=(nghttp2-client)
fi

[ ${#packages[@]} -eq 0 ] && exit 0

have apt-get || fail "missing, and there is no apt-get to install it: ${packages[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    # Without a password or not at all: this asks nothing.
    if have sudo && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        fail "these Debian packages are missing, and only root can install them:
    sudo apt-get install ${packages[*]}"
    fi
fi

say "installing ${packages[*]}"

# The packages would start a Redis and a Postgres cluster of their own on the very
# ports that the host's own are to have. A policy that forbids it is in place for as
# long as the installation takes; one that is there already stays.
policy=/usr/sbin/policy-rc.d
cluster_conf=/etc/postgresql-common/createcluster.conf
ours=false
log=$(mktemp)
clean_up() {
    rm -f "$log"
    if $ours; then "${as_root[@]}" rm -f "$policy"; fi
}
trap clean_up EXIT
if [ ! -e "$policy" ]; then
    ours=true
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi
case " ${packages[*]} " in
*" postgresql "*)
    if [ ! -e "$cluster_conf" ]; then
        "${as_root[@]}" mkdir -p "$(dirname "$cluster_conf")"
        echo 'create_main_cluster = false' | "${as_root[@]}" tee "$cluster_conf" >/dev/null
    fi
    ;;
esac

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confold "$@"
}
apt update >/dev/null || say "apt-get update failed; trying with the lists that are there"
apt install --no-install-recommends "${packages[@]}" >"$log" 2>&1 || {
    cat "$log" >&2
    fail "apt-get could not install: ${packages[*]}"
}
say "done"
