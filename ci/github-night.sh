#!/usr/bin/env bash
# A night as a step of a GitHub workflow. Red is for results that are not as expected and for faults
# of the command. An undecided night (exit 3 or 4) is a warning, and the step passes. It hands the
# night's exit code to later jobs, annotates the rows that failed, and collects the pages to publish
# in results/pages.
#
#   ci/github-night.sh [NIGHT]
set -uo pipefail
cd "$(dirname "$0")/.." || exit
ci/nightly.sh "$@"
code=$?
echo "code=$code" >> "${GITHUB_OUTPUT:-/dev/null}"
for junit in results/nights/"${1:-light}"/*/junit.xml; do :; done # the last: named by time
[ ! -e "$junit" ] || ci/annotations.py "$junit"
mkdir -p results/pages
echo '<!doctype html><title>Nights</title><p>No night has been recorded yet.' > results/pages/index.html
page=results/nights/${1:-light}.html
if [ -e "$page" ]; then
  cp results/nights/*.html results/nights/*.svg results/pages/
  cp "$page" results/pages/index.html
fi
case $code in
  3) echo "::warning title=Undecided::Some results are inconclusive; the summary gives the reasons" ;;
  4) echo "::warning title=Undecided::Some trials are missing; this says nothing about the paper" ;;
  *) exit "$code" ;;
esac
