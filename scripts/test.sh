#!/usr/bin/env bash
# Builds once (debug) and runs every test. Arguments go to `swift test`, for example: scripts/test.sh --filter GatewayTests
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --build-tests
exec swift test --skip-build "$@"
