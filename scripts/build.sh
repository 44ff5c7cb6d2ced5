#!/usr/bin/env bash
# Builds the release programs cortex and cortex-pod-init into .build/dist.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=.build/release-static
# SQLite and zlib are linked statically, so the program runs in every Debian, Ubuntu or Fedora image (contract O2). The
# linker uses the first library of a name that it finds.
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
# The compiler and the tests' builds check for overlapping accesses to a variable; the same checks in the release would
# cost 5 % of a request. The table of exported names is omitted: no libraries are loaded later, and the table takes 5 MB
# of the file and 2.7 MiB of memory.
flags=(-c release --static-swift-stdlib --scratch-path "$scratch" -Xswiftc "-L$static" -Xswiftc -enforce-exclusivity=unchecked
  -Xlinker --no-export-dynamic)
echo "Building the release programs (the first time takes several minutes)"
# Changed flags alone do not cause a new link.
rm -f "$scratch/release/cortex"
swift build "${flags[@]}" --product cortex
swift build "${flags[@]}" --product cortex-pod-init
mkdir -p .build/dist
for program in cortex cortex-pod-init; do
  install -m 0755 "$scratch/release/$program" ".build/dist/$program"
done
# The program itself has no symbols: nothing in it reads them, since an error of the Swift runtime names its file and
# line by itself. What a core dump, gdb or perf needs is in cortex.debug, which they find beside the program by the link
# in it (or by the build id) and which need not be installed. Unused sections were dropped by the linker (--gc-sections,
# which a release build has by default). docs/performance.md says what is left.
objcopy --only-keep-debug --compress-debug-sections "$scratch/release/cortex" .build/dist/cortex.debug
chmod 0644 .build/dist/cortex.debug
strip --strip-all .build/dist/cortex
(cd .build/dist && objcopy --add-gnu-debuglink=cortex.debug cortex)
more=$(readelf -d .build/dist/cortex | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|libm|libgcc_s|libstdc\+\+|ld-linux.*)\.so\.' || true)
[ -z "$more" ] || {
  echo "error: cortex depends on ${more//$'\n'/, }, which not every image has" >&2
  exit 1
}
ls -lh .build/dist
