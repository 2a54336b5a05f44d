"""Where the page signs in by itself: a user pool's own pages, with a client that has no secret."""

from dataclasses import dataclass
from typing import Final

SIGN_IN_PATH: Final = "/page/sign-in.json"
"""Among the page's own files: it is read before anybody has signed in."""


@dataclass(frozen=True)
class SignIn:
    """A Cognito domain and the client that the page is there."""

    url: str
    """Scheme and host."""
    client: str
