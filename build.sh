#!/usr/bin/env bash
# bash build.sh              builds: .venv from the lock file, .env, and the image where Docker is
# bash build.sh test ...     passes the tests; the rest goes to pytest
# bash build.sh VERB ...     is `hlfast VERB ...` in that environment: up, seed, clean, --help
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv

die() {
    printf 'build.sh: %s\n' "$1" >&2
    exit 1
}

find_python() {
    local name without_venv=
    for name in python3.14 python3.13 python3.12 python3.11 python3; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
        without_venv=$name
    done
    [ -z "$without_venv" ] || die "$without_venv has no venv module with pip: \
install it (Debian: apt-get install python3-venv)"
    die "no Python 3.11 or newer on PATH"
}

# install_locked FILE [pip's options]: a copy of the file in .venv says that it is installed there.
install_locked() {
    local lock=$root/$1 installed=$venv/$1 quiet=--quiet
    shift
    ! cmp -s "$lock" "$installed" || return 0
    echo "Installing ${lock##*/} into .venv"
    [ ! -t 1 ] || quiet=
    # shellcheck disable=SC2086 # empty is no argument
    "$venv/bin/python" -m pip install $quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: "$@" --requirement "$lock"
    cp "$lock" "$installed"
}

# The wheel holds programs only, so any Python can use the one that is labelled for 3.11.
install_redis() {
    local platform packages
    case $(uname -sm) in
        'Linux x86_64') platform=manylinux_2_28_x86_64 ;;
        'Darwin arm64') platform=macosx_14_0_arm64 ;;
        *) return 0 ;;
    esac
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    install_locked requirements-redis.txt --implementation cp --python-version 3.11 --abi cp311 \
        --platform "$platform" --no-deps --upgrade --target "$packages"
}

make_venv() {
    local python
    if [ ! -x "$venv/bin/python" ] || [ ! -e "$venv/requirements.txt" ]; then
        python=$(find_python)
        echo "Making .venv with $("$python" --version)"
        "$python" -m venv --clear "$venv"
    fi
    install_locked requirements.txt
    install_redis
}

make_env_file() {
    [ ! -e "$root/.env" ] || return 0
    (
        umask 077
        "$venv/bin/python" - >"$root/.env.new" <<'PYTHON'
import secrets

print("# Made by build.sh. What is set in the environment goes before it.")
print(f"HLFAST_SECRET={secrets.token_urlsafe(48)}")
print("FIRST_SUPERUSER=admin")
print(f"FIRST_SUPERUSER_PASSWORD={secrets.token_urlsafe(18)}")
print("# For the servers of `docker compose up`, each at its first start.")
for name in ("POSTGRES", "POSTGRES_REPLICATION", "MYSQL", "MYSQL_ROOT", "REDIS", "RABBITMQ"):
    print(f"{name}_PASSWORD={secrets.token_hex(16)}")
print(f"RABBITMQ_ERLANG_COOKIE={secrets.token_hex(16)}")
print(f"GRAFANA_PASSWORD={secrets.token_hex(16)}")
PYTHON
        mv "$root/.env.new" "$root/.env"
    )
    echo "Made .env with random secrets"
}

# Nothing in it is run, unlike with `source`.
export_env_file() {
    local name value
    while IFS='=' read -r name value || [ -n "$name" ]; do
        [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
        value=${value%$'\r'}
        case $value in
            \"*\" | \'*\') value=${value:1:${#value}-2} ;;
        esac
        [ -n "${!name+set}" ] || export "$name=$value"
    done <"$root/.env"
}

build_image() {
    if [ ! -e "$root/Dockerfile" ]; then
        echo "No Dockerfile here: the image is skipped"
    elif ! docker info >/dev/null 2>&1; then
        echo "Docker does not answer: the image is skipped"
    else
        docker build --tag hlfast "$root"
    fi
}

any_of() {
    local name
    for name in "$@"; do
        ! command -v "$name" >/dev/null || return 0
    done
    return 1
}

install_servers() {
    local missing=() program
    any_of redis-server valkey-server || missing+=(redis-server)
    any_of rabbitmq-server /usr/sbin/rabbitmq-server || missing+=(rabbitmq-server)
    any_of haproxy /usr/sbin/haproxy || missing+=(haproxy)
    any_of pgbouncer /usr/sbin/pgbouncer || missing+=(pgbouncer)
    any_of mariadbd /usr/sbin/mariadbd || missing+=(mariadb-server)
    any_of chromium chromium-browser google-chrome || missing+=(chromium)
    any_of chromedriver || missing+=(chromium-driver)
    any_of valgrind || missing+=(valgrind)
    for program in prometheus prometheus-postgres-exporter prometheus-node-exporter; do
        any_of "$program" || missing+=("$program")
    done
    any_of go || missing+=(golang-go)
    # What the benchmarks' Go peer is built from: no programs, so their directories tell.
    local sources=/usr/share/gocode/src
    [ -d $sources/github.com/jackc/pgx/v4 ] || missing+=(golang-github-jackc-pgx-v4-dev)
    [ -d $sources/github.com/golang-jwt/jwt ] || missing+=(golang-github-golang-jwt-jwt-dev)
    [ -d $sources/golang.org/x/crypto ] || missing+=(golang-golang-x-crypto-dev)
    [ -d $sources/golang.org/x/text ] || missing+=(golang-golang-x-text-dev)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! any_of apt-get; then
        die "the tests need ${missing[*]}: install them (Debian's names)"
    fi
    echo "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
        >/dev/null || die "apt-get could not install ${missing[*]}, which the tests need"
}

run_tests() {
    install_servers
    install_locked requirements-test.txt
    cd "$root"
    "$venv/bin/ruff" check
    "$venv/bin/ruff" format --check
    "$venv/bin/mypy"
    "$venv/bin/lint-imports"
    exec "$venv/bin/python" -m pytest "$@"
}

make_venv
if [ "${1-}" = test ]; then
    shift
    run_tests "$@"
fi
make_env_file
if [ $# -eq 0 ]; then
    build_image
    echo "Built. Run it: bash build.sh up"
    exit 0
fi
export_env_file
# Paths in the arguments are the caller's, so its directory stays; but nothing is imported from it.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
exec "$venv/bin/python" -P -m hlfast "$@"
