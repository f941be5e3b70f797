#!/usr/bin/env bash
# What the tests need beyond Python, where Debian's packages can be had and we may install them.
# Elsewhere it does nothing: the tests that need it are skipped, and under CI=true they fail.
set -euo pipefail
packages=()
command -v chromium google-chrome >/dev/null || packages+=(chromium)
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
  packages+=(postgresql)
command -v ip >/dev/null || packages+=(iproute2)
if ((${#packages[@]} == 0)); then exit 0; fi
if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
  echo "not installed, for lack of apt-get or of root: ${packages[*]}" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}"
