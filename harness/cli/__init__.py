"""The command line: parses options, calls the library and prints."""

import sys
import traceback
from typing import NoReturn

from harness.cli.app import app
from harness.cli.console import guarded
from harness.errors import Exit, HarnessError
from harness.variables import name_home_and_user


def main() -> NoReturn:
    """Run one command and exit with its code, which `harness.errors.Exit` lists.

    A fault that the user can mend is printed as its message; a bug keeps its traceback.
    """
    name_home_and_user()
    with guarded() as output:
        code = output.exit_code(_run())
    sys.exit(code)


def _run() -> int:
    try:
        app(prog_name="harness")
    except SystemExit as end:
        if isinstance(end.__context__, OSError):
            # typer reads any EPIPE as a closed standard output. Ours never raises it: a bug.
            traceback.print_exception(end.__context__)
            return Exit.BUG
        return end.code if isinstance(end.code, int) else Exit.AS_EXPECTED
    except HarnessError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception:  # noqa: BLE001 - printed with its traceback and exit code 70
        traceback.print_exc()
        return Exit.BUG
    return Exit.AS_EXPECTED
