#!/usr/bin/env bash
# Keeps one issue for each kind of night: opens it when a night is red, closes it when one is green.
# An undecided night (exit 3 or 4) leaves it as it is.
#
#   ci/github-issue.sh     needs gh, and in the environment: GH_TOKEN, GH_REPO, NIGHT, CODE, RUN_URL
set -euo pipefail
title="Night $NIGHT is not as expected"
number=$(TITLE=$title gh issue list --state open --limit 200 --json number,title \
  --jq '[.[] | select(.title == env.TITLE)][0].number // empty')
case $CODE in
  0) [ -z "$number" ] || gh issue close "$number" --comment "As expected again: $RUN_URL" ;;
  3 | 4) ;;
  *)
    words="The night ended with exit code ${CODE:-none}: $RUN_URL"
    if [ -n "$number" ]; then
      gh issue comment "$number" --body "$words"
    else
      gh issue create --title "$title" --body "$words"
    fi
    ;;
esac
