"""`python -m batch_job.check ENGINE TASK [OPTIONS]`: whether an engine is set up for a task; does no work.

OPTIONS is a JSON object. Says one line: on standard output what is there, or on standard error what is
missing and how to get it; exit codes as in `contract`.
"""

import json
import sys

from .contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_NOT_SET_UP,
    ContractError,
    ModelError,
    canonical_options,
)


def main() -> int:
    """Check; the exit code."""
    from .engines import load_engine
    from .errors import NotSetUp

    try:
        engine, task, *more = sys.argv[1:]
        options = canonical_options(engine, task, json.loads(more[0]) if more else {})
    except ModelError as error:
        return _say(f"engine.{error}", EXIT_NOT_SET_UP)
    except ContractError as error:
        return _say(str(error), EXIT_BAD_INPUT)
    except ValueError:
        return _say("usage: python -m batch_job.check ENGINE TASK [OPTIONS as JSON]", EXIT_BAD_INPUT)
    try:
        info = load_engine(engine).check(task, options)
    except NotSetUp as error:
        return _say(str(error), EXIT_NOT_SET_UP)
    weights = f", weights {info.weights}" if info.weights else ""
    sys.stdout.write(f"{info.name} {info.version}{weights}\n")
    return EXIT_DONE


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(sentence + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
