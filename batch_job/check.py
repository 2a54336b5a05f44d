"""`python -m batch_job check ENGINE TASK [OPTIONS]`: whether an engine is set up for a task, and works.

OPTIONS is a JSON object. Says in one line on standard output what is there, and in a second one, once the
reference case is segmented, what it found in it and in how many seconds. What is missing and how
to get it is one line on standard error; exit codes as in `contract`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    ContractError,
    ModelError,
    canonical_options,
)
from .quiet import quieten_python, write_failure
from .resources import set_threads

MOST_IN_A_LINE = 3


def main(arguments: Sequence[str]) -> int:
    """Check; the exit code."""
    quieten_python()
    set_threads()
    try:
        engine, task, *more = arguments
        options = canonical_options(engine, task, json.loads(more[0]) if more else {})
    except ModelError as error:
        return _say(f"engine.{error}", EXIT_NOT_SET_UP)
    except ContractError as error:
        return _say(str(error), EXIT_BAD_INPUT)
    except ValueError:
        return _say("usage: python -m batch_job check ENGINE TASK [OPTIONS as JSON]", EXIT_BAD_INPUT)
    return _try(engine, task, options)


def _try(name: str, task: str, options: Mapping[str, Any]) -> int:
    from .engines import load_engine
    from .errors import meaning_of
    from .reference import try_engine

    try:
        engine = load_engine(name)
        info = engine.check(task, options)
        weights = f", weights {info.weights}" if info.weights else ""
        sys.stdout.write(f"{info.name} {info.version}{weights}\n")
        sys.stdout.flush()
        began = time.monotonic()
        tried = try_engine(engine, name, task, options, Path(tempfile.gettempdir()))
    except Exception as error:
        code, sentence = meaning_of(error)
        if code == EXIT_SOFTWARE_ERROR:
            write_failure(error)
        return _say(sentence, code)
    few = ", ".join(tried.found[:MOST_IN_A_LINE]) or "nothing"
    more = len(tried.found) - MOST_IN_A_LINE
    found = f"{few} and {more} more" if more > 0 else few
    sys.stdout.write(f"finds {found} in the reference case, in {time.monotonic() - began:.1f} s\n")
    return EXIT_DONE


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(sentence + "\n")
    return exit_code
