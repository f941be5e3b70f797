"""Set MLflow's environment variables before its import, except those that the user set."""

import os

from harness.variables import name_home_and_user

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow logs tracebacks and migration steps, which do not help somebody who watches a trial.
    # We report a problem once, in our own words.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # By default MLflow waits 2 minutes and retries 7 times, so a server that hangs would stall
    # tracking. We retry ourselves: MLflow also retries a slow `create run`, which creates the run
    # twice.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}

name_home_and_user()
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
