#!/usr/bin/env bash
# A night as a step of a GitHub workflow. Red is for results that are not as expected and for faults
# of the command. An undecided night (exit 3 or 4) is a warning, and the step passes.
#
#   ci/github-night.sh [NIGHT]
set -uo pipefail
cd "$(dirname "$0")/.." || exit
ci/nightly.sh "$@"
code=$?
case $code in
  3) echo "::warning title=Undecided::Some results are inconclusive; the summary gives the reasons" ;;
  4) echo "::warning title=Undecided::Some trials are missing; this says nothing about the paper" ;;
  *) exit "$code" ;;
esac
