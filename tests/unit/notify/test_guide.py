"""What docs/notify.md says holds: its receiver believes what we sign, and nothing else."""

import json
import re
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.errors import Retriable
from gateway.config import Config
from gateway.config.notify import OCCASIONS
from gateway.notify.message import Message, trial_message
from gateway.notify.receivers.catalogue import receivers_of
from tests.told import served

GUIDE = (Path(__file__).parents[3] / "docs" / "notify.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(text)


def test_guide_has_a_row_for_each_occasion() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", GUIDE.partition("\n## ")[0], re.MULTILINE)
    assert rows == ["on", *OCCASIONS]


def test_message_in_the_guide_is_one() -> None:
    message = Message.model_validate(json.loads(_block("json")))
    assert set(json.loads(_block("json"))) == set(Message.model_fields)
    assert message.items[0].way_out == OCCASIONS["failed"].way_out


def test_receiver_of_the_guide_takes_what_is_signed_once_and_refuses_another_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    program: dict[str, Any] = {"__name__": "guide"}
    exec(_block("python"), program)
    program["Receiver"].log_message = lambda *_: None
    with served(HTTPServer(("127.0.0.1", 0), program["Receiver"])) as port:

        def tell(secret: str) -> None:
            hook = {"url": f"http://127.0.0.1:{port}/", "secret": secret}
            [(_, receiver)] = receivers_of(Config(notify={"webhooks": [hook]}))
            receiver.tell(message)

        message = trial_message(Config().site, ["failed"])
        tell("the same as in secret_file")
        tell("the same as in secret_file")
        with pytest.raises(Retriable, match="HTTP 401"):
            tell("another")
    assert capsys.readouterr().out == "IRIS demo: a test\n"
