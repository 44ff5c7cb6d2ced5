#!/usr/bin/env bash
# Builds the release programs into .build/dist: cortex and, beside it, cortex-pod-init.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=.build/release-static
# Accesses to one variable that overlap are looked for by the compiler, and by the tests' builds as they run; looking for them in every
# access of the release costs a twentieth of a request.
flags=(-c release --static-swift-stdlib --scratch-path "$scratch" -Xswiftc -enforce-exclusivity=unchecked)
echo "Building the release programs (the first time takes several minutes)"
swift build "${flags[@]}" --product cortex
swift build "${flags[@]}" --product cortex-pod-init
mkdir -p .build/dist
for program in cortex cortex-pod-init; do
  install -m 0755 "$scratch/release/$program" ".build/dist/$program"
done
strip --strip-debug .build/dist/cortex 2>/dev/null || true
ls -lh .build/dist
