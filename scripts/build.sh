#!/usr/bin/env bash
# Builds the release programs into .build/dist: cortex and, beside it, cortex-pod-init.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=.build/release-static
# SQLite and zlib become part of the program, which so runs in a container that has only what every Debian, Ubuntu or
# Fedora image has (contract O2). The linker takes the first library of a name that it finds.
static=$PWD/.build/static-libraries
mkdir -p "$static"
for library in libsqlite3.a libz.a; do
  path=/usr/lib/$(uname -m)-linux-gnu/$library
  [ -f "$path" ] || path=/usr/lib64/$library
  [ -f "$path" ] || {
    echo "error: $library is missing. On Debian, scripts/setup.sh build installs it" >&2
    exit 1
  }
  ln -sf "$path" "$static/$library"
done
# Accesses to one variable that overlap are looked for by the compiler, and by the tests' builds as they run; looking
# for them in every access of the release costs a twentieth of a request. No table of names for libraries that would be
# loaded later: there are none, and it takes 5 MB of the file and 2.7 MiB of memory.
flags=(-c release --static-swift-stdlib --scratch-path "$scratch" -Xswiftc "-L$static" -Xswiftc -enforce-exclusivity=unchecked
  -Xlinker --no-export-dynamic)
echo "Building the release programs (the first time takes several minutes)"
# Other flags alone do not make it link anew.
rm -f "$scratch/release/cortex"
swift build "${flags[@]}" --product cortex
swift build "${flags[@]}" --product cortex-pod-init
mkdir -p .build/dist
for program in cortex cortex-pod-init; do
  install -m 0755 "$scratch/release/$program" ".build/dist/$program"
done
strip --strip-debug .build/dist/cortex 2>/dev/null || true
more=$(readelf -d .build/dist/cortex | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|libm|libgcc_s|libstdc\+\+|ld-linux.*)\.so\.' || true)
[ -z "$more" ] || {
  echo "error: cortex would need ${more//$'\n'/, } wherever it runs" >&2
  exit 1
}
ls -lh .build/dist
