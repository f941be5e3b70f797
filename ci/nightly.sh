#!/usr/bin/env bash
# One night, from wherever it is called: by a workflow, by cron, by hand.
#
#   ci/nightly.sh [NIGHT] [OPTION...]     NIGHT: light (default), grid, full, or another of nightly.yaml
#
# Exits as `harness nightly` does: 0 as expected, 1 something not, 2 usage, 3 inconclusive,
# 4 incomplete or infrastructure.
set -euo pipefail
cd "$(dirname "$0")/.."
night=${1:-light}
shift $(($# > 0))
# The environment is made by its own rule, which does nothing where it is up to date. What cannot be
# installed is infrastructure, and says nothing of any paper.
make --silent .venv/.installed || exit 4
export HARNESS_DATA="${HARNESS_DATA:-$PWD/.data}"
exec .venv/bin/harness nightly --night "$night" --config ci/nightly.yaml "$@"
