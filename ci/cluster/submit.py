#!/usr/bin/env python3
"""Run a command of the harness on a Ray cluster's head, from wherever its dashboard is reached.

    ci/cluster/submit.py ADDRESS COMMAND [ARGUMENT...]
    ci/cluster/submit.py http://127.0.0.1:8265 run experiments --seeds 0-9 --workspace /study

As `ray job submit -- harness ...`, and beyond it: this checkout goes along (manifests and code;
what .gitignore names stays here), so that paths of manifests are relative to it; the exit code is
the command's own, where Ray's is 1; Ctrl-C stops the job, and the same command goes on later.

What is written must outlast the job, whose folder does not: the workspace is an absolute path on
the head. MLFLOW_TRACKING_URI and HARNESS_DATA are handed on. A cluster with a token wants
RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH.
"""

import asyncio
import os
import shlex
import sys
from itertools import pairwise
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

REPOSITORY = Path(__file__).resolve().parents[2]
HANDED_ON = ("HARNESS_DATA", "MLFLOW_TRACKING_URI")
USAGE, INCOMPLETE, INTERRUPTED = 2, 4, 130


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return USAGE
    address, *command = arguments
    if not outlasts(command):
        print("name the workspace by --workspace and an absolute path", file=sys.stderr)
        return USAGE
    client = JobSubmissionClient(address)
    job = client.submit_job(
        entrypoint=shlex.join(["harness", *command]),
        runtime_env={
            "working_dir": str(REPOSITORY),
            "env_vars": {name: os.environ[name] for name in HANDED_ON if name in os.environ},
        },
    )
    print(f"{address}: job {job}", file=sys.stderr)
    try:
        asyncio.run(follow(client, job))
    except KeyboardInterrupt:
        client.stop_job(job)
        print(f"asked {job} to stop", file=sys.stderr)
        return INTERRUPTED
    info = client.get_job_info(job)
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    print(info.message, file=sys.stderr)
    return 0 if info.status == JobStatus.SUCCEEDED else INCOMPLETE


def outlasts(command: list[str]) -> bool:
    """Whether the workspace is named, and not relative to the job's own folder."""
    words = [word for each in command for word in each.split("=", 1)]
    return any(
        name == "--workspace" and Path(value).is_absolute() for name, value in pairwise(words)
    )


async def follow(client: JobSubmissionClient, job: str) -> None:
    """Print what the job prints, until it ends."""
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
