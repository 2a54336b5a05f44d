"""How we sign in at a service by HTTP: secrets lie in files, which are read anew for each request."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import Away


@dataclass(frozen=True)
class Credentials:
    """A token (RFC 6750), or a user and a password (RFC 7617), or neither.

    Parameters
    ----------
    token_file, password_file
        Files with nothing else in them; empty: there is none.
    """

    token_file: str = ""
    user: str = ""
    password_file: str = ""

    def headers(self) -> Mapping[str, str]:
        """Those of a request.

        Raises
        ------
        Away
            A file cannot be read, or is empty; its text is never part of a sentence.
        """
        if self.token_file:
            return {"Authorization": f"Bearer {secret_in(self.token_file)}"}
        if self.user:
            both = f"{self.user}:{secret_in(self.password_file)}".encode()
            return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
        return {}


def secret_in(name: str) -> str:
    """What stands in a file of one line.

    Raises
    ------
    Away
        As of `Credentials.headers`.
    """
    try:
        secret = Path(name).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise Away(
            f"{name} cannot be read ({error.strerror}); put it there, readable by the gateway"
        ) from None
    except UnicodeDecodeError:
        raise Away(f"{name} is no text; write the secret, and nothing else, into it") from None
    if not secret or not secret.isprintable():
        raise Away(f"{name} has no secret of one line in it; write it, and nothing else, into it")
    return secret
