"""The command line: wires the parts together and prints; decides nothing."""

import sys
import traceback
from typing import NoReturn

from harness.cli.app import app
from harness.errors import Exit, HarnessError


def main() -> NoReturn:
    """Run the command and exit by the contract in `harness.errors.Exit`.

    A fault that the user can mend is printed as its message; one of ours keeps its traceback.
    """
    try:
        app(prog_name="harness")
    except HarnessError as fault:
        print(fault, file=sys.stderr)
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the traceback is printed; only the exit code is ours
        traceback.print_exc()
        sys.exit(Exit.BUG)
    sys.exit(Exit.AS_EXPECTED)
