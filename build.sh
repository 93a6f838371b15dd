#!/usr/bin/env bash
# bash build.sh              builds: .venv from the lock file, .env, and the image where Docker is
# bash build.sh test ...     passes the tests; `test --help` says what else it takes
# bash build.sh bench        installs what the benchmarks need beside it
# bash build.sh lab ...      what each method brings on this machine; `lab --help` says more
# bash build.sh VERB ...     is `hlfast VERB ...` in that environment: up, seed, clean, help
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
    local lock=$root/$1 installed=$venv/$1
    shift
    ! cmp -s "$lock" "$installed" || return 0
    echo "Installing ${lock##*/} into .venv (the first time it takes a minute or two)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: "$@" --requirement "$lock" &&
        cp "$lock" "$installed"
}

make_venv() {
    local python
    if [ ! -x "$venv/bin/python" ] || [ ! -e "$venv/requirements.txt" ]; then
        python=$(find_python)
        echo "Making .venv with $("$python" --version)"
        "$python" -m venv --clear "$venv"
        # The one that comes with an old Python takes twice as long for the rest.
        install_locked requirements-pip.txt || echo "Going on with the pip of this Python"
    fi
    install_locked requirements.txt
}

# Most modules of these packages are never imported. What is, is compiled then, which saves a third of
# their installation. Those of the service are compiled at once: `up` as root runs it as somebody who
# may not write there.
install_for_tests() {
    install_locked requirements-test.txt --no-compile
}

# One of before lacks what has come since.
add_to_env_file() {
    local name
    for name in POSTGRES_EXPORTER_PASSWORD CITUS_PASSWORD; do
        ! grep -qE "^[[:space:]]*(export[[:space:]]+)?$name[[:space:]]*=" "$root/.env" || continue
        printf '\n%s=%s\n' "$name" \
            "$("$venv/bin/python" -c 'import secrets; print(secrets.token_hex(16))')" >>"$root/.env"
        echo "Added $name to .env"
    done
}

make_env_file() {
    if [ -e "$root/.env" ]; then
        add_to_env_file
        return
    fi
    (
        umask 077
        "$venv/bin/python" - >"$root/.env.new" <<'PYTHON'
import secrets

print("# Made by build.sh. What is set in the environment goes before it. Write a value in single")
print("# quotes if it has a $, a #, a backslash or quotes: docker compose reads this file, too.")
print(f"HLFAST_SECRET={secrets.token_urlsafe(48)}")
print("FIRST_SUPERUSER=admin")
print(f"FIRST_SUPERUSER_PASSWORD={secrets.token_urlsafe(18)}")
print("# For the servers of `docker compose up`, each at its first start.")
for name in (
    *("POSTGRES", "POSTGRES_REPLICATION", "POSTGRES_EXPORTER", "CITUS"),
    *("MYSQL", "MYSQL_ROOT", "REDIS", "RABBITMQ"),
):
    print(f"{name}_PASSWORD={secrets.token_hex(16)}")
print(f"RABBITMQ_ERLANG_COOKIE={secrets.token_hex(16)}")
print(f"GRAFANA_PASSWORD={secrets.token_hex(16)}")
PYTHON
        mv "$root/.env.new" "$root/.env"
    )
    echo "Made .env with random secrets"
}

# Prints how to run what was built.
build_image() {
    local run="bash build.sh up"
    if [ ! -e "$root/Dockerfile" ]; then
        echo "No Dockerfile here: the image is skipped"
    elif ! docker info >/dev/null 2>&1; then
        echo "Docker does not answer: the image is skipped"
    else
        docker build --tag hlfast "$root"
        run="docker compose up -d, or without containers: $run"
    fi
    echo "Built. Run it: $run"
}

any_of() {
    local name
    for name in "$@"; do
        ! command -v "$name" >/dev/null || return 0
    done
    return 1
}

# need PACKAGE WHY PROGRAM...: one of the programs, or a line of what is missing.
need() {
    local package=$1 why=$2
    shift 2
    any_of "$@" || missing+=("$package" "$why")
}

need_source() {
    [ -d "/usr/share/gocode/src/$3" ] || missing+=("$1" "$2")
}

# What no wheel has. Says what is missing and what it is for before it installs anything.
install_servers() {
    local missing=() packages=() answer
    need redis-server "the cache and the event log" redis-server valkey-server
    need mariadb-server "the other database" mariadbd /usr/sbin/mariadbd
    need rabbitmq-server "the other event log" rabbitmq-server /usr/sbin/rabbitmq-server
    need haproxy "the front door" haproxy /usr/sbin/haproxy
    need pgbouncer "what hlfast check says of poolers" pgbouncer /usr/sbin/pgbouncer
    need chromium "the pages in a browser" chromium chromium-browser google-chrome
    need chromium-driver "the same" chromedriver
    need valgrind "bench.instructions" valgrind
    need prometheus "the rules and dashboards" prometheus
    need prometheus-postgres-exporter "the same" prometheus-postgres-exporter
    need prometheus-node-exporter "the same" prometheus-node-exporter
    need golang-go "the Go peer of the benchmarks" go
    # Sources, no programs: what that peer is built from.
    need_source golang-github-jackc-pgx-v4-dev "the same" github.com/jackc/pgx/v4
    need_source golang-github-golang-jwt-jwt-dev "the same" github.com/golang-jwt/jwt
    need_source golang-golang-x-crypto-dev "the same" golang.org/x/crypto
    need_source golang-golang-x-text-dev "the same" golang.org/x/text
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "The tests run against real servers. Missing here (Debian's names):"
    printf '  %-34s %s\n' "${missing[@]}"
    local i
    for ((i = 0; i < ${#missing[@]}; i += 2)); do packages+=("${missing[i]}"); done
    if [ "$(id -u)" != 0 ] || ! any_of apt-get; then
        die "install them, or run \`bash build.sh test --quick\`, which needs none of them"
    fi
    if [ -z "${CI-}" ] && [ -t 0 ]; then
        read -r -p "Install them with apt-get? [y/N] " answer
        [[ $answer == [yY]* ]] || die "nothing installed; \`bash build.sh test --quick\` needs none of them"
    else
        echo "Installing them"
    fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}"; } \
        >/dev/null || die "apt-get could not install ${packages[*]}"
}

test_help() {
    cat <<'HELP'
bash build.sh test                 everything, on all databases; installs servers that are missing
bash build.sh test --quick         style gates, units and the contract on PostgreSQL; installs none
bash build.sh test tests/posts -k wall   any arguments of pytest: a part, in one process
bash build.sh test --repeat 8 ...  so many runs, every fourth beside two busy loops, summed up
HELP
}

run_tests() {
    local words=() repeat='' quick='' whole=1
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) test_help && exit 0 ;;
            --quick) quick=1 && words+=("$1") ;;
            --repeat)
                [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "--repeat needs a number of runs"
                repeat=$2 && shift
                ;;
            -*) words+=("$1") ;;
            *) whole='' && words+=("$1") ;;
        esac
        shift
    done
    make_venv
    [ -n "$quick" ] || install_servers
    install_for_tests
    cd "$root"
    # What is compiled is kept, whatever the shell says: each of the processes would do it anew.
    unset PYTHONDONTWRITEBYTECODE
    # Most tests wait most of the time: two processes for each core. A part is not worth their start.
    [ -z "$whole" ] || words=(--numprocesses "$((2 * $(getconf _NPROCESSORS_ONLN)))" "${words[@]}")
    if [ -n "$repeat" ]; then
        exec "$venv/bin/python" -m tests.repeat "$repeat" "${words[@]}"
    fi
    exec "$venv/bin/python" -m pytest "${words[@]}"
}

# What the lines of bench/README need, beside the service.
install_benchmarks() {
    make_venv
    install_for_tests
    echo "Installed. Next: source .venv/bin/activate, then any line of bench/README.md"
}

# Paths in the arguments are the caller's, so its directory stays; but nothing is imported from it.
run_lab() {
    make_venv
    install_for_tests
    export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
    exec "$venv/bin/python" -P -m bench.lab "$@"
}

case ${1-} in
    test) shift && run_tests "$@" ;;
    bench) install_benchmarks && exit 0 ;;
    lab) shift && run_lab "$@" ;;
esac
make_venv
make_env_file
# Locust is of the tests.
[ "${1-}" != swarm ] || install_for_tests
if [ $# -eq 0 ]; then
    build_image
    exit 0
fi
# Paths in the arguments are the caller's, so its directory stays; but nothing is imported from it.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
# Nothing in .env is run, unlike with `source`.
exec "$venv/bin/python" -P "$root/hl_utils/env_file.py" "$root/.env" \
    "$venv/bin/python" -P -m hl_utils "$@"
