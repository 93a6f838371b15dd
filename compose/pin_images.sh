#!/usr/bin/env bash
# Prints a compose file that names, for each service, the image that is here now by its digest:
#
#   bash compose/pin_images.sh > compose.pins.yaml
#   docker compose -f compose.yaml -f compose.pins.yaml up -d
#
# Arguments are those of docker compose before its verb: -f compose.yaml -f compose/mysql.yml
set -euo pipefail

die() {
    printf 'pin_images.sh: %s\n' "$1" >&2
    exit 1
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
services=$(docker compose "$@" --profile '*' config --format json | python3 -c '
import json, sys
for name, service in json.load(sys.stdin)["services"].items():
    if "build" not in service:
        print(name, service["image"])
')

# As the registry has it that the image's name means: it may have been pushed to others.
digest_of() {
    local name=${1%%@*} found
    [[ ${name##*/} != *:* ]] || name=${name%:*}
    name=${name#docker.io/}
    name=${name#library/}
    found=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$1" 2>/dev/null) || return 1
    while read -r digest; do
        [[ $digest != "$name@"* ]] || { echo "$digest" && return; }
    done <<<"$found"
    return 1
}

# Whole or not at all: it is read from a file.
pins=services:
while read -r service image; do
    digest=$(digest_of "$image") || die "$image of $service is not here from its registry: docker compose pull"
    pins+=$(printf '\n  %s: {image: "%s"}' "$service" "$digest")
done <<<"$services"
echo "$pins"
