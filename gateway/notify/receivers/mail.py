"""Tells by e-mail, through the site's own mail server (RFC 5321), by STARTTLS (RFC 3207) unless told so."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from gateway.adapters.credentials import secret_in
from gateway.adapters.errors import Away, Retriable
from gateway.adapters.tls import what_failed
from gateway.backends.pacs import tls_of_calls
from gateway.config.notify import Mail, Smtp

from ..message import Message
from .receiver import SILENT_S, TEST

NOBODY_WROTE_IT: Final = "auto-generated"
"""Auto-Submitted (RFC 3834): no out-of-office note comes back."""


class MailReceiver:
    """Some addresses that get the same mail.

    Raises
    ------
    TlsError
        Certificates or keys for the mail server cannot be used.
    """

    def __init__(self, to: Mail, smtp: Smtp) -> None:
        self._to = to
        self._smtp = smtp
        self._tls = tls_of_calls(smtp.tls, checks_name=True)

    def tell(self, message: Message) -> None:
        """Hand it to the mail server, which takes it for all or for none."""
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"], mail["To"] = self._smtp.sender, ", ".join(self._to.to)
        mail["Date"] = format_datetime(message.made_at)
        mail["Message-ID"] = f"<{message.key}@iris-gateway.invalid>"
        mail["Auto-Submitted"] = NOBODY_WROTE_IT
        mail.set_content(message.text)
        with self._understood(), self._signed_in() as server:
            refused = server.send_message(mail)
        if refused:
            raise Retriable(f"{self._smtp.host} refuses {len(refused)} of its addresses; see `to` of it")

    def check(self) -> str:
        """Sign in at the mail server, and leave."""
        with self._understood(), self._signed_in() as server:
            server.noop()
        return f"{self._smtp.host} lets us in; told of {', '.join(self._to.on)}; {TEST}"

    @contextmanager
    def _signed_in(self) -> Iterator[smtplib.SMTP]:
        smtp = self._smtp
        if smtp.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                smtp.host, smtp.used_port, timeout=SILENT_S, context=self._context()
            )
        else:
            server = smtplib.SMTP(smtp.host, smtp.used_port, timeout=SILENT_S)
        with server:
            if smtp.security == "starttls":
                server.starttls(context=self._context())
            if smtp.user:
                server.login(smtp.user, self._password())
            yield server

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Say what went wrong without what the server said, which may quote anything."""
        host = self._smtp.host
        try:
            yield
        except smtplib.SMTPNotSupportedError:
            raise Retriable(
                f"{host} does not offer STARTTLS, or signing in; see notify.smtp.security"
            ) from None
        except smtplib.SMTPAuthenticationError:
            raise Retriable(f"{host} refuses user and password; see notify.smtp.user") from None
        except smtplib.SMTPRecipientsRefused:
            raise Retriable(f"{host} refuses every address; see `to` of {self._to.receiver}") from None
        except smtplib.SMTPResponseException as error:
            raise Retriable(f"{host} refuses the mail (SMTP {error.smtp_code}); see its log") from None
        except ssl.SSLError as error:
            raise Away(f"{host} cannot be called by TLS: {what_failed(error)}; see notify.smtp") from None
        except (OSError, smtplib.SMTPException):
            port = self._smtp.used_port
            raise Away(f"{host}:{port} does not answer, or breaks off; see notify.smtp; {TEST}") from None

    def _password(self) -> str:
        smtp = self._smtp
        return secret_in(smtp.password_file) if smtp.password_file else smtp.password.get_secret_value()

    def _context(self) -> ssl.SSLContext:
        return self._tls.context() if self._tls is not None else ssl.create_default_context()
