"""The table of the configuration that says where results are sent, and its kinds."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from .outputs import OUTPUTS, require_known
from .sections import AeTitle, Dicom, PeerTls, Port, Section, is_loopback

DESTINATION_KINDS: Mapping[str, tuple[str, ...]] = {
    "dicom": ("ae_title", "host", "port"),
    "folder": ("folder",),
    "stow": ("stow",),
}
"""Each kind of destination with the keys that make one of that kind; what carries there is delivery's."""


class Destination(Section):
    """Where results are sent."""

    name: str = Field(min_length=1)
    ae_title: AeTitle | None = None
    host: str | None = None
    port: Port | None = None
    folder: str = ""
    """An existing folder that results are written into."""
    stow: str = ""
    token_file: str = ""
    user: str = ""
    password_file: str = ""
    outputs: list[str] | Literal["auto"] = Field([])
    """What of a result goes there; empty: what its rule makes; `auto`: what of that it takes."""
    supersede: Literal["add", "iocm", "delete"] = "add"
    check_patient: bool = True
    """Whether it is asked whose a study is before results go there."""
    commitment: bool = False
    """Whether it is asked to commit itself to keep what it was sent."""
    tls: PeerTls = PeerTls()
    give_up_after_h: float = Field(72.0, gt=0)
    """How long an unreachable destination is retried before the delivery is failed."""

    @property
    def kind(self) -> str:
        """Which of `DESTINATION_KINDS` it is."""
        return next(kind for kind, keys in DESTINATION_KINDS.items() if getattr(self, keys[0]))

    @property
    def named_outputs(self) -> list[str]:
        """The outputs that it names; none where it gets what its rule makes, or takes of that."""
        return [] if isinstance(self.outputs, str) else self.outputs

    @property
    def is_asked_for_outputs(self) -> bool:
        """Whether it gets what it takes of what its rule makes."""
        return isinstance(self.outputs, str)

    @property
    def shows_its_secret(self) -> bool:
        """Whether a token or a password goes unencrypted to another machine."""
        url = urlsplit(self.stow)
        is_plain = url.scheme == "http" and not is_loopback(url.hostname or "")
        return is_plain and bool(self.token_file or self.password_file)

    def why_no_report(self, dicom: Dicom) -> str:
        """Why its report of storage commitment cannot come in, in a sentence; empty: nothing is known."""
        if not (self.commitment and self.ae_title and self.host):
            return ""
        what = f"destination {self.name}: its report of storage commitment"
        title = self.ae_title.strip()
        if dicom.allow and title not in {sender.ae_title.strip() for sender in dicom.allow}:
            return f"{what} is turned away at the door; add {title} to dicom.allow, with its address"
        if is_loopback(dicom.host) and not is_loopback(self.host):
            return f"{what} cannot reach dicom.host = {dicom.host}; set an address of this machine there"
        return ""

    @field_validator("outputs")
    @classmethod
    def _are_in_the_catalogue(cls, outputs: list[str] | str) -> list[str] | str:
        if not isinstance(outputs, str):
            require_known(outputs)
            kept = [output for output in outputs if OUTPUTS[output].files]
            if kept:
                said = f"{', '.join(kept)} is no DICOM object and is not sent"
                raise ValueError(f"{said}; name it in a rule's outputs")
        return outputs

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "Destination":
        given = [keys for keys in DESTINATION_KINDS.values() if any(getattr(self, key) for key in keys)]
        choice = ", or ".join(" and ".join(keys) for keys in DESTINATION_KINDS.values())
        if len(given) > 1:
            raise ValueError(f"is of several kinds; give one of these only: {choice}")
        if not given or not all(getattr(self, key) for key in given[0]):
            raise ValueError(f"needs {choice}")
        return self

    @model_validator(mode="after")
    def _deletes_where_that_is_possible(self) -> "Destination":
        if self.supersede == "delete" and not self.stow:
            raise ValueError("supersede = 'delete' goes with stow: use 'iocm', or 'add'")
        return self

    @model_validator(mode="after")
    def _can_be_asked_for_commitment(self) -> "Destination":
        if self.commitment and not self.ae_title:
            raise ValueError("commitment goes with ae_title, host and port: nobody else can be asked for it")
        return self

    @model_validator(mode="after")
    def _signs_in_where_that_is_possible(self) -> "Destination":
        if not self.stow:
            if self.token_file or self.user or self.password_file:
                raise ValueError("token_file, user and password_file go with stow; use tls = { ... }")
            return self
        url = urlsplit(self.stow)
        is_web = (
            url.scheme in ("http", "https") and url.hostname and url.port != 0 and self.stow.isprintable()
        )
        if not is_web or url.query or url.fragment:
            raise ValueError("stow is an address as https://pacs.example/dicom-web, and nothing behind that")
        if "@" in url.netloc:
            raise ValueError("stow has a user or password in it: use user and password_file")
        if self.tls.is_wanted and url.scheme != "https":
            raise ValueError("tls needs an address that begins with https")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file are needed both, or neither")
        if self.token_file and self.user:
            raise ValueError("give token_file, or user and password_file, not both")
        return self
