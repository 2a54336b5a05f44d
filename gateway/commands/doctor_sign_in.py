"""What `iris doctor` looks at of who may ask: tokens that people wrote, and where they sign in."""

from collections.abc import Iterator
from typing import Final

from gateway.adapters.checks import Check, Verdict
from gateway.api.callers.access import SENDER_TOKEN_NAME, TOKEN_NAME, CannotTell
from gateway.api.callers.sign_in import people_of
from gateway.config import Config

SHORT: Final = 32
"""Characters: of a token with fewer it is not sure that nobody guesses it."""


def examine_sign_in(config: Config) -> Iterator[Check]:
    """Check the files that hold tokens, and that the issuer of sign-ins answers."""
    for name in (TOKEN_NAME, SENDER_TOKEN_NAME):
        path = config.data_dir / name
        try:
            length = len(path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError):
            continue  # it is made at the start, or the start says what is wrong
        if length < SHORT:
            finding = f"a token of {length} characters may be guessed"
            yield Check(
                name, Verdict.WARNING, finding, f"write {SHORT} random ones into {path}, then restart"
            )
    people = people_of(config)
    if people is None:
        return
    try:
        where = people.settings()["authorize"]
    except CannotTell as away:
        fix = "look at api.oidc.issuer, and whether this machine reaches it"
        yield Check("sign-in", Verdict.FAILED, str(away), fix)
        return
    yield Check("sign-in", Verdict.OK, f"people sign in at {where}")
