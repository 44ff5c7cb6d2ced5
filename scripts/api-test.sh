#!/usr/bin/env bash
# Tests the operator of the debug build with schemathesis against its own OpenAPI document, with a deployed API in it:
# scripts/api-test.sh [ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/platform.sh
source scripts/platform.sh

environment=$(scripts/python-env.sh schemathesis scripts/schemathesis-requirements.txt)
start_platform
cortex deploy examples/hello/cortex.sandbox.yaml --wait
cortex submit hello -d '{}' --wait
export OPERATOR="$operator" TOKEN="$token"
run() {
  "$environment/bin/schemathesis" --config-file scripts/schemathesis.toml run "$operator/openapi.json" \
    --no-color --warnings off "$@"
}
echo "--- arbitrary names"
run "$@"
echo "--- existing names"
# The tests above may have deleted the API and its requests.
cortex deploy examples/hello/cortex.sandbox.yaml --wait
cortex submit hello -d '{}' --wait
id=$(cortex requests hello -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
version=$(cortex get hello -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["metadata"]["id"])')
# A followed log has no end.
sed "s|^\[generation\]|[parameters]\n\"query.follow\" = \"false\"\n\"path.api\" = \"hello\"\n\"path.id\" = \"$id\"\n\"path.apiID\" = \"$version\"\n\n&|" \
  scripts/schemathesis.toml >"$work/schemathesis.toml"
"$environment/bin/schemathesis" --config-file "$work/schemathesis.toml" run "$operator/openapi.json" \
  --no-color --warnings off --include-path-regex '\{api\}' --exclude-operation-id delete "$@"
