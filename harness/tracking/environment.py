"""MLflow's environment variables, settled before it is imported; what the user set stands."""

import os

from harness.variables import name_home_and_user

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Its tracebacks and migration steps are not for the reader of a trial's progress; trouble is
    # told once, in our words.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that hangs must not stall the projection for MLflow's 2 minutes and 7 retries.
    # Retrying is ours: MLflow's repeats a slow `create run` too, and the run then exists twice.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}

name_home_and_user()
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
