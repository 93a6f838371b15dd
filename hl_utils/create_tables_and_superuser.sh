#!/usr/bin/env bash
# Make the tables and the superuser (FIRST_SUPERUSER and FIRST_SUPERUSER_PASSWORD, or a prompt).
# Safe to run again, and by several at once. --promote: see `hlfast superuser --help`.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

hlfast() {
    # A built checkout has its settings in .env, which build.sh reads; a container has no .venv.
    if [ -z "${PYTHON-}" ] && [ -x .venv/bin/python ] && [ -e build.sh ]; then
        bash build.sh "$@"
    else
        "${PYTHON:-python3}" -m hl_utils "$@"
    fi
}

hlfast tables
hlfast superuser "$@"
