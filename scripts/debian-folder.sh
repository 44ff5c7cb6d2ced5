#!/usr/bin/env bash
# Downloads Debian packages with what they need, unpacks them into .build/NAME and prints that folder: debian-folder.sh
# NAME PACKAGE... They are not installed, because their services would start and take ports of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
shift
packages=("$@")
folder=$PWD/.build/$name
if [ "$(cat "$folder/stamp" 2>/dev/null)" != "${packages[*]}" ]; then
  command -v apt-get >/dev/null || {
    echo "error: this machine has no apt-get. Install ${packages[*]} by hand, and write \"${packages[*]}\" to $folder/stamp" >&2
    exit 1
  }
  rm -rf "$folder"
  mkdir -p "$folder/archives/partial"
  log=$folder/log
  # A private cache, so that this works without root. A package that is installed already is not downloaded.
  options=(-o Debug::NoLocking=true -o "Dir::Cache=$folder" -o APT::Sandbox::User="$(id -un)")
  for attempt in again failed; do
    if apt-get "${options[@]}" install --download-only --yes --no-install-recommends "${packages[@]}" >"$log" 2>&1; then break; fi
    if [ "$attempt" = failed ] || [ "$(id -u)" -ne 0 ] || ! apt-get update >>"$log" 2>&1; then
      tail -5 "$log" >&2
      echo "error: apt-get could not download: ${packages[*]}. Try again after: apt-get update" >&2
      exit 1
    fi
  done
  for archive in "$folder"/archives/*.deb; do
    [ ! -f "$archive" ] || dpkg-deb --extract "$archive" "$folder"
  done
  rm -rf "$folder/archives"
  echo "${packages[*]}" >"$folder/stamp"
fi
echo "$folder"
