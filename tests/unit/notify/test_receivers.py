"""Webhooks and mails as they arrive, and what is said where they do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.adapters.errors import Away, OutsideError
from gateway.cli import app
from gateway.commands.doctor_notify import examine_notify
from gateway.config import Config, ConfigError, load_config
from gateway.ledger.states import JobEvent
from gateway.notify.message import trial_message
from gateway.notify.receivers.catalogue import receivers_of
from gateway.notify.receivers.receiver import Receiver
from tests.one_job import JOB_KEY
from tests.told import PASSWORD, USER, MailServer, Web

SMTP = {"host": "127.0.0.1", "user": USER, "password": PASSWORD, "sender": "iris@hospital.example"}
HOOK = '{ url = "https://a", secret = "s",'
TO = ["ops@hospital.example", "pacs@hospital.example"]


def smtp_at(server: MailServer, **changes: Any) -> dict[str, Any]:
    return {**SMTP, "port": server.port, "tls": {"ca": str(server.ca)}, **changes}


def mailing(server: MailServer, **changes: Any) -> Receiver:
    [(_, receiver)] = receivers_of(Config(notify={"smtp": smtp_at(server, **changes), "mails": [{"to": TO}]}))
    return receiver


def message(**changes: Any) -> Any:
    return trial_message(Config().site, ["failed"]).model_copy(update=changes)


@pytest.mark.parametrize(("offers", "security"), [("starttls", "starttls"), ("tls", "tls")])
def test_mail_arrives_by_tls_with_its_key_for_all_of_its_addresses(
    mail_server: MailServer, offers: str, security: str
) -> None:
    mail_server.offers = offers
    sent = message(text="A study failed.\nÄußeres: ü")
    mailing(mail_server, security=security).tell(sent)
    [mail] = mail_server.mails
    assert mail["To"] == ", ".join(TO)
    assert mail["Subject"] == "IRIS demo: a test"
    assert sent.key in mail["Message-ID"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().splitlines() == sent.text.splitlines()


@pytest.mark.parametrize(
    ("trouble", "changes", "sentence"),
    [
        ({"offers": "nothing"}, {}, "does not offer STARTTLS"),
        ({}, {"password": "wrong"}, "refuses user and password"),
        ({"refuses": "ops@"}, {}, "refuses 1 of its addresses"),
        ({"refuses": "@"}, {}, "refuses every address"),
        ({}, {"user": "", "password": ""}, "refuses the mail (SMTP 530)"),
        ({}, {"password": "", "password_file": "/not/there"}, "/not/there cannot be read"),
        ({}, {"tls": {}}, "its certificate is not signed by whom we trust"),
    ],
)
def test_mail_that_is_not_taken_is_told_in_our_own_words(
    mail_server: MailServer, trouble: dict[str, str], changes: dict[str, Any], sentence: str
) -> None:
    for name, value in trouble.items():
        setattr(mail_server, name, value)
    with pytest.raises(OutsideError) as raised:
        mailing(mail_server, **changes).tell(message())
    assert sentence in str(raised.value)
    assert "MUELLER" not in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_receiver_that_is_away_is_told_by_its_name_alone(web: Web) -> None:
    without_tls = web.url.replace("http:", "https:")
    for url, why in (("http://127.0.0.1:1/SECRET", "cannot be reached"), (without_tls, "by TLS")):
        [(_, receiver)] = receivers_of(Config(notify={"webhooks": [{"url": url, "secret": "s"}]}))
        with pytest.raises(Away) as raised:
            receiver.tell(message())
        assert str(raised.value).startswith("webhook 127.0.0.1 ")
        assert why in str(raised.value)
        assert "SECRET" not in str(raised.value)


def test_secret_is_read_anew_of_its_file(web: Web, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    hook = {"url": web.url, "secret_file": str(secret)}
    [(_, receiver)] = receivers_of(Config(notify={"webhooks": [hook]}))
    for text in ("one\n", "two\n"):
        secret.write_text(text)
        receiver.tell(message(key="same"))
    one, two = (headers["X-IRIS-Signature"] for headers, _ in web.got)
    assert one != two


# -- the configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('webhooks = [{ url = "ftp://a", secret = "s" }]', "is an address as https://"),
        ('webhooks = [{ url = "https://u:p@a/", secret = "s" }]', "without a user in it"),
        ('webhooks = [{ url = "https://a" }]', "needs secret or secret_file"),
        (f'webhooks = [{HOOK} on = ["fail"] }}]', "there is no occasion fail; known: failed"),
        (f'webhooks = [{HOOK} rules = ["mr"] }}]', "there is no [[rule]] mr"),
        (f"webhooks = [{HOOK} }}, {HOOK} }}]".replace(", }", " }"), "give each a name"),
        ('mails = [{ to = ["ops@h.example"] }]', "mails need smtp"),
        ('smtp = { user = "a" }', "needs host"),
        ('smtp = { host = "mail" }', "needs sender"),
        ('smtp = { host = "mail", sender = "a@b", user = "a" }', "needs user with password"),
        (
            'smtp = { host = "mail", sender = "a@b", user = "a", password = "p", security = "none" }',
            "sends the password for all to read",
        ),
        ('smtp = { host = "mail", sender = "Ops <a@b>" }', "is no mail address"),
        ('daily_at = "7:00"', "notify.daily_at"),
    ],
)
def test_receivers_that_cannot_be_told_are_refused_at_start(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "iris.toml"
    path.write_text(f"[notify]\n{text}\n")
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert sentence in str(raised.value)


def test_secret_of_the_configuration_is_not_printed_with_it() -> None:
    config = Config(notify={"webhooks": [{"url": "https://a", "secret": "s3cret"}]})
    assert "s3cret" not in repr(config)


# -- the commands -------------------------------------------------------------------------------------------


@pytest.fixture
def write_config(tmp_path: Path, web: Web, mail_server: MailServer) -> Callable[[], Path]:
    def write() -> Path:
        path = tmp_path / "iris.toml"
        path.write_text(
            f'[site]\ndata_dir = "{tmp_path / "data"}"\n'
            f'[notify]\nwebhooks = [{{ name = "ops", url = "{web.url}", secret = "s" }}]\n'
            f'mails = [{{ to = ["ops@hospital.example"], on = ["daily"] }}]\n'
            f'[notify.smtp]\nhost = "127.0.0.1"\nport = {mail_server.port}\nuser = "{USER}"\n'
            f'password = "{PASSWORD}"\nsender = "iris@hospital.example"\n'
            f'tls = {{ ca = "{mail_server.ca}" }}\n'
        )
        return path

    return write


def test_notify_test_sends_everybody_a_message_and_says_what_came_of_it(
    write_config: Callable[[], Path], web: Web, mail_server: MailServer
) -> None:
    path = str(write_config())
    said = CliRunner().invoke(app, ["notify", "test", "--config", path])
    assert said.exit_code == 0, said.output
    assert said.output.count("took the message") == 2
    assert "told of: daily" in mail_server.mails[0].get_content()
    web.status = 403
    said = CliRunner().invoke(app, ["notify", "test", "--config", path])
    assert said.exit_code == 1
    assert "ops answered with HTTP 403" in said.output


def test_notify_test_without_anybody_says_so(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["notify", "test"], env={"IRIS_SITE__DATA_DIR": str(tmp_path)})
    assert said.exit_code == 1
    assert "nobody is told anything" in said.output


def test_doctor_signs_in_at_the_mail_server_and_tells_nobody_anything(
    write_config: Callable[[], Path], web: Web, mail_server: MailServer
) -> None:
    config = load_config(write_config())
    assert {check.verdict for check in examine_notify(config, running=False)} == {"ok"}
    mail_server.offers = "nothing"
    assert [check.verdict for check in examine_notify(config, running=False)] == ["ok", "failed"]
    assert (web.got, mail_server.mails) == ([], [])


def test_doctor_says_what_became_of_a_message_that_was_given_up(
    house, web: Web, webhook: Callable[..., dict[str, Any]]
) -> None:
    web.status = 404
    worker = house.start(**webhook(), give_up_after_h=1e-9)
    with house.ledger.transaction() as transaction:
        transaction.move_job(JOB_KEY, JobEvent.FAILED, reason="it said no")
    worker.work()
    checks = list(examine_notify(house.config(**webhook()), running=False))
    assert [check.verdict for check in checks] == ["ok", "failed"]
    assert "was given up: ops answered with HTTP 404" in checks[1].finding
