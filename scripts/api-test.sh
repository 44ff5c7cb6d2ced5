#!/usr/bin/env bash
# Tests the operator of the debug build with schemathesis against its own OpenAPI document, with a deployed API in it:
# scripts/api-test.sh [ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/platform.sh
source scripts/platform.sh

environment=$(scripts/python-env.sh schemathesis scripts/schemathesis-requirements.txt)
start_platform
# Their CPU lets a job that asks for hundreds of workers start one after the other.
cat >"$work/jobs.yaml" <<'YAML'
- name: square
  kind: BatchAPI
  max_concurrent_jobs: 1
  pod:
    termination_grace_period: 1s
    containers:
      - name: main
        compute: {cpu: 1}
        command:
          - python3
          - -c
          - |
            import json
            from http.server import BaseHTTPRequestHandler, HTTPServer
            class Handler(BaseHTTPRequestHandler):
                def do_POST(self):
                    items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    failed = self.path == "/" and items == [2]
                    self.send_response(200)
                    if failed:
                        self.send_header("X-Cortex-Failed-Items", "0")
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"[]")
            HTTPServer(("", 8080), Handler).serve_forever()
- name: report
  kind: TaskAPI
  max_concurrent_jobs: 1
  schedules: [{name: yearly, cron: "@yearly"}]
  pod:
    termination_grace_period: 1s
    containers:
      - name: main
        compute: {cpu: 1}
        command: [sh, -c, "echo text > /cortex/artifacts/a.txt; echo 1 > /cortex/artifacts/result.json"]
YAML
deploy() {
  cortex deploy examples/hello/cortex.sandbox.yaml --wait
  cortex deploy "$work/jobs.yaml"
}
deploy
export OPERATOR="$operator" TOKEN="$token"
run() {
  local configuration=$1
  shift
  "$environment/bin/schemathesis" --config-file "$configuration" run "$operator/openapi.json" \
    --no-color --warnings off "$@"
}
# with PARAMETER…: the configuration with values for parameters of existing things, such as "path.api"="hello"; prints
# its path.
with() {
  local lines
  lines=$(printf '%s\\n' "$@")
  sed "/^# For arbitrary names only/,\$d; s|^\[generation\]|[parameters]\n$lines\n&|" scripts/schemathesis.toml \
    >"$work/schemathesis.toml"
  echo "$work/schemathesis.toml"
}
job_id() { python3 -c 'import json, sys; print(json.load(sys.stdin)["job_status"]["job_id"])'; }

echo "--- arbitrary names"
run scripts/schemathesis.toml "$@"
echo "--- an AsyncAPI"
# The tests above may have deleted the APIs and their requests.
deploy
cortex submit hello -d '{}' --wait
id=$(cortex requests hello -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
version=$(cortex get hello -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["metadata"]["id"])')
# A followed log has no end.
run "$(with '"query.follow" = "false"' '"path.api" = "hello"' "\"path.id\" = \"$id\"" "\"path.apiID\" = \"$version\"")" \
  --include-path-regex '^/(?!batch|tasks).*\{api\}' --exclude-operation-id delete "$@"
echo "--- a BatchAPI"
job=$(cortex submit square -d '{"workers": 1, "item_list": {"items": [1, 2], "batch_size": 1}}' --wait -o json | job_id || true)
# Without a wait: most jobs are pending for long.
run "$(with '"query.wait" = "0"' '"path.api" = "square"' "\"path.id\" = \"$job\"")" --include-path-regex '^/batch/' "$@"
echo "--- a TaskAPI"
job=$(cortex submit report -d '{}' --wait -o json | job_id)
run "$(with '"query.wait" = "0"' '"path.api" = "report"' '"path.schedule" = "yearly"' '"path.worker" = 0' '"path.path" = "a.txt"' "\"path.id\" = \"$job\"")" \
  --include-path-regex '^/(tasks|schedules)/' "$@"
