# shellcheck shell=bash
# For scripts that test a running platform. start_platform starts the debug build on the sandbox engine, on free ports,
# in a temporary folder. It sets work, gateway, operator and token, puts cortex on the PATH and makes the platform the
# CLI's default environment.

# The trap runs platform_cleanup, which prints the end of the platform's log after a failure.
platform_cleanup() {
  local status=$?
  if [ -n "${platform:-}" ] && kill -0 "$platform" 2>/dev/null; then
    kill -TERM "$platform"
    wait "$platform" || true
  fi
  if [ "$status" -ne 0 ] && [ -s "$work/log" ]; then
    echo "--- last lines of the platform's log" >&2
    tail -20 "$work/log" >&2
  fi
  rm -rf "$work"
  exit "$status"
}

start_platform() {
  local bin
  bin=$(swift build --show-bin-path)
  work=$(mktemp -d)
  platform=
  trap platform_cleanup EXIT
  export PATH="$bin:$PATH" CORTEX_CLI_CONFIG_DIR="$work/cli"
  cortex up --data-dir "$work/data" --port 0 --operator-port 0 --engine sandbox >"$work/out" 2>"$work/log" &
  platform=$!
  for _ in $(seq 600); do
    grep -qs '^ready' "$work/out" && break
    kill -0 "$platform" 2>/dev/null || return 1
    sleep 0.1
  done
  gateway=$(sed -n 's/^gateway *\([^ ]*\).*/\1/p' "$work/out")
  operator=$(sed -n 's/^operator *\([^ ]*\).*/\1/p' "$work/out")
  token=$(sed -n 's/^ *-* *token: *//p' "$work/cli/cli.yaml" | tr -d "'\"")
  export gateway operator token
}
