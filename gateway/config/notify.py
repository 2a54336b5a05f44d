"""The tables of the configuration that say who is told what happens, and what there is to tell.

What each occasion is about is one entry of the catalogue here; who tells it is the room `notify`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from .sections import PeerTls, Port, Section, is_loopback


@dataclass(frozen=True)
class Occasion:
    """Something that people want to be told.

    Parameters
    ----------
    about, about_many
        What happened, to one study and to several; of the gateway the same.
    way_out
        What to do about it.
    states
        Of a study: as long as it is in one of these, it is worth telling; none: it is about the gateway.
    event
        The line of a study's timeline by which it begins; empty: it is found by time.
    """

    name: str
    about: str
    about_many: str
    way_out: str
    states: tuple[str, ...] = ()
    event: str = ""


_OCCASIONS: Final = (
    Occasion(
        "failed",
        "a study failed",
        "{} studies failed",
        "its page says why; settle that, then retry it there, or by `iris retry KEY`",
        ("failed",),
        "study.failed",
    ),
    Occasion(
        "held",
        "a study is held: a person decides",
        "{} studies are held: a person decides",
        "look at it on its page; release or cancel it there, or by `iris release KEY` or `iris cancel KEY`",
        ("held",),
        "study.held",
    ),
    Occasion(
        "waiting",
        "a study gets no further",
        "{} studies get no further",
        "its page says what it waits for, and so does `iris study KEY`",
        ("receiving", "processing"),
    ),
    Occasion("disk", *2 * ("the disk has no room",), "make room, or give the data directory a larger disk"),
    Occasion("mirror", *2 * ("the mirror is behind",), "`iris doctor` says more; it goes on by itself"),
    Occasion("daily", *2 * ("the day's summary",), ""),
)
OCCASIONS: Final[Mapping[str, Occasion]] = {each.name: each for each in _OCCASIONS}
"""By what stands in `on`."""
DEFAULT_ON: Final = ["failed", "held"]


def _known_once(names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in OCCASIONS]
    if unknown:
        raise ValueError(f"there is no occasion {', '.join(unknown)}; known: {', '.join(OCCASIONS)}")
    if len(set(names)) < len(names):
        raise ValueError("an occasion stands there twice; name each once")
    return names


On = Annotated[list[str], Field(min_length=1), AfterValidator(_known_once)]


def _plain_address(address: str) -> str:
    local, at, host = address.rpartition("@")
    if not (local and at and host) or not address.isprintable() or any(c in address for c in " <>,;"):
        raise ValueError(f"{address!r} is no mail address; it is written as in ops@hospital.example")
    return address


MailAddress = Annotated[str, AfterValidator(_plain_address)]


class Webhook(Section):
    """Somebody who is told by HTTP, by messages that are signed."""

    name: str = ""
    url: str
    secret: SecretStr = SecretStr("")
    secret_file: str = ""
    on: On = DEFAULT_ON
    rules: list[str] = Field([])
    """Only studies with a job of one of these; empty: all."""
    tls: PeerTls = PeerTls()

    @property
    def receiver(self) -> str:
        """What it is called; its address may hold a secret, and is never told."""
        return self.name or f"webhook {urlsplit(self.url).hostname}"

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        try:
            url = urlsplit(address)
            is_web = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            is_web = False
        if not is_web or not address.isprintable() or "@" in urlsplit(address).netloc:
            raise ValueError("is an address as https://alerts.example/iris, without a user in it")
        return address

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if bool(self.secret.get_secret_value()) == bool(self.secret_file):
            raise ValueError("needs secret or secret_file, and not both: the receiver knows us by it")
        if self.tls.is_wanted and not self.url.startswith("https:"):
            raise ValueError("tls needs a url that begins with https")
        return self


class Smtp(Section):
    """The mail server; empty: no mail is sent."""

    host: str = ""
    port: Port | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: str = ""
    sender: MailAddress | None = None
    """Whom the mails are from."""
    tls: PeerTls = PeerTls()

    @property
    def used_port(self) -> int:
        """The port, or the usual one."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        has_password = bool(self.password.get_secret_value()) + bool(self.password_file)
        if not self.host:
            if self.user or has_password or self.sender or self.port:
                raise ValueError("needs host: the name of the mail server")
            return self
        if self.sender is None:
            raise ValueError("needs sender: the address that mails are from")
        if has_password != bool(self.user):
            raise ValueError("needs user with password or password_file, one of both, or none of the three")
        if self.user and self.security == "none" and not is_loopback(self.host):
            raise ValueError("sends the password for all to read; set security = 'starttls' or 'tls'")
        if self.tls.is_wanted and self.security == "none":
            raise ValueError("tls goes with security = 'starttls' or 'tls'")
        return self


class Mail(Section):
    """Somebody who is told by e-mail."""

    to: list[MailAddress] = Field(min_length=1)
    name: str = ""
    on: On = DEFAULT_ON
    rules: list[str] = Field([])
    """As of a webhook."""

    @property
    def receiver(self) -> str:
        """What it is called."""
        return self.name or f"mail {self.to[0]}"


class Notify(Section):
    """Who is told what happens, by webhook and by e-mail."""

    webhooks: list[Webhook] = Field([])
    smtp: Smtp = Smtp()
    mails: list[Mail] = Field([])
    waiting_minutes: float = Field(60.0, gt=0)
    """For how long a study gets no further, or the mirror is behind, before that is told."""
    daily_at: str = Field("07:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """When the summary goes, in the site's time zone."""
    every_minutes: float = Field(5.0, gt=0, le=240)
    """A receiver is told no more often; what happens meanwhile comes together."""
    give_up_after_h: float = Field(24.0, gt=0)
    """For how long a message is tried that cannot be delivered."""

    @property
    def receivers(self) -> list[Webhook | Mail]:
        """All of them."""
        return [*self.webhooks, *self.mails]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [each.receiver for each in self.receivers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands there twice; give each a name of its own")
        if self.mails and not self.smtp.host:
            raise ValueError("mails need smtp: name the mail server under [notify.smtp]")
        return self
