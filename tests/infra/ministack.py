"""The web client's part of the template at ministack, which has HTTP API and user pool, as moto has not.

It checks tokens as API Gateway's JWT authoriser does, signs them as Cognito does, after a sign-in with PKCE
on pages of its own, and runs the status function's handler. It stays on the loopback address.
"""

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from gateway.demo.loopback import free_port
from tests.cloud import DEADLINE_S, ENVIRONMENT, REGION
from tests.cloud_status import HANDLER
from tests.infra.deployment import ACCOUNT, CODE, ROOT, client_at, transformed

STACK: Final = "iris-oculus-backend"
LACKING: Final = (
    "AWS::Batch::",
    "AWS::Budgets::Budget",
    "AWS::Cognito::ManagedLoginBranding",
    "AWS::EC2::FlowLog",
    "AWS::RolesAnywhere::",
)
"""What types begin with that ministack does not make."""
PASSWORD: Final = "Correct-Horse-Battery-5"
_BEFORE: Final = """\
import sys
sys.path[:0] = {paths!r}
from status_handler import handler
"""
"""What runs before the handler."""
_VERIFIER: Final = "a-verifier-of-at-least-forty-three-characters-in-all"


class _StaysHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_browser = urllib.request.build_opener(_StaysHere)


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Ministack:
    """A ministack of its own, with the template's stack; `stop` ends it and whatever it started."""

    def __init__(self, program: str, folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        environment = {name: of for name, of in os.environ.items() if not name.startswith("AWS_")}
        here = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._port),
            "IOT_MTLS_ENABLED": "0",  # would listen for everybody
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "TMPDIR": str(folder),
        }
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program],
                env={**environment, **ENVIRONMENT, **here},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_S)

    def client(self, service: str) -> Any:
        return client_at(service, self.url)

    def deploy(self, **parameters: str) -> None:
        """Deploy what ministack can make of the template, with the status function's real handler."""
        self._wait_until_it_answers()
        bucket, key = CODE.removeprefix("s3://").split("/")
        s3, cloudformation = self.client("s3"), self.client("cloudformation")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=_code())
        s3.put_object(Bucket=bucket, Key="template", Body=json.dumps(_what_can_be_made()).encode())
        cloudformation.create_stack(
            StackName=STACK,
            TemplateURL=f"{self.url}/{bucket}/template",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": name, "ParameterValue": of}
                for name, of in {"CpuFallback": "no", **parameters}.items()
            ],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": int(DEADLINE_S)}
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            assert self._process.poll() is None, "ministack ended; its log lies in the temporary folder"
            try:
                self.client("sts").get_caller_identity()
                return
            except Exception as error:
                if time.monotonic() > deadline:
                    raise AssertionError("ministack does not answer") from error
                time.sleep(0.05)

    @cached_property
    def outputs(self) -> dict[str, str]:
        [stack] = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    @property
    def api_id(self) -> str:
        return str(urlsplit(self.outputs["ApiEndpoint"]).hostname).partition(".")[0]

    def ask(self, path: str, token: str = "", method: str = "GET") -> Response:
        """Ask the API as a browser or a program does."""
        headers = {"Host": urlsplit(self.outputs["ApiEndpoint"]).netloc}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return _ask(urllib.request.Request(self.url + path, headers=headers, method=method))

    # -- people -------------------------------------------------------------------------------------------

    def add_user(self, name: str, *groups: str) -> None:
        """A person, as infra/README.md says to add one."""
        cognito, pool = self.client("cognito-idp"), self.outputs["UserPoolId"]
        email = f"{name}@example.org"
        cognito.admin_create_user(
            UserPoolId=pool, Username=email, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
        )
        cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=PASSWORD, Permanent=True)
        for group in groups:
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName=group)

    def signed_in(self, name: str, client_id: str = "") -> dict[str, Any]:
        """The tokens that a person gets on Cognito's own page: an authorization code, with PKCE."""
        client_id, back = client_id or self.outputs["UserPoolClientId"], f"{self.outputs['ApiEndpoint']}/"
        digest = hashlib.sha256(_VERIFIER.encode()).digest()
        wish = {
            "client_id": client_id,
            "redirect_uri": back,
            "response_type": "code",
            "scope": "openid",
            "state": "a-state",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        page = _ask(f"{self.url}/oauth2/authorize?{urlencode(wish)}")
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode()))
        form = {**hidden, "username": f"{name}@example.org", "password": PASSWORD}
        led = _ask(urllib.request.Request(f"{self.url}/login", urlencode(form).encode()))
        assert led.headers["location"].startswith(back), led
        answer = parse_qs(urlsplit(led.headers["location"]).query)
        assert answer["state"] == ["a-state"]
        redeemed = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": answer["code"][0],
            "redirect_uri": back,
            "code_verifier": _VERIFIER,
        }
        tokens = _ask(urllib.request.Request(f"{self.url}/oauth2/token", urlencode(redeemed).encode()))
        found: dict[str, Any] = tokens.json()
        return found


def _ask(request: urllib.request.Request | str) -> Response:
    try:
        with _browser.open(request, timeout=DEADLINE_S) as answer:
            status, headers, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, headers, content = error.code, error.headers, error.read()
    return Response(status, {name.lower(): value for name, value in headers.items()}, content)


def _what_can_be_made() -> dict[str, Any]:
    template = transformed()
    of_the_route = json.dumps({"Fn::GetAtt": ["WayOut", "CidrBlock"]})  # ministack's routes have none
    template = json.loads(json.dumps(template).replace(of_the_route, '"0.0.0.0/0"'))
    lacking = {name for name, of in template["Resources"].items() if str(of["Type"]).startswith(LACKING)}
    for part in ("Resources", "Outputs"):
        template[part] = {
            name: of
            for name, of in template[part].items()
            if name not in lacking and not any(f'"{each}"' in json.dumps(of) for each in lacking)
        }
    return template


def _code() -> bytes:
    """The function's handler, and where on this machine it finds the gateway and what it needs."""
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("status_handler.py", HANDLER.read_text(encoding="utf-8"))
        content.writestr("handler.py", _BEFORE.format(paths=paths))
    return archive.getvalue()
