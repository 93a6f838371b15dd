#!/usr/bin/env bash
# Prints a compose file that names, for each service, the image that is here now by its digest:
#
#   bash compose/pin_images.sh > compose.pins.yaml
#   docker compose -f compose.yaml -f compose.pins.yaml up -d
#
# Arguments are those of docker compose before its verb: -f compose.yaml -f compose/mysql.yml
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
services=$(docker compose "$@" --profile '*' config --format json | python3 -c '
import json, sys
for name, service in json.load(sys.stdin)["services"].items():
    if "build" not in service:
        print(name, service["image"])
')
echo services:
while read -r name image; do
    digest=$(docker image inspect --format '{{with .RepoDigests}}{{index . 0}}{{end}}' "$image")
    [ -n "$digest" ] || {
        echo "pin_images.sh: $image of $name is not from a registry: pull it first" >&2
        exit 1
    }
    printf '  %s: {image: "%s"}\n' "$name" "$digest"
done <<<"$services"
