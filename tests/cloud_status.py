"""The status API in the cloud under test: the Lambda function's own handler, called as by API Gateway."""

import base64
import importlib.util
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest

HANDLER = Path(__file__).parents[1] / "infra" / "functions" / "status" / "handler.py"
VIEWER = "[viewer]"
ADMIN = "[admin]"


@dataclass(frozen=True)
class Answered:
    """What the function answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Function:
    """The function, loaded anew with these variables.

    `groups` are the token's as API Gateway writes them; None: the route has no authoriser.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        table: str,
        bucket: str = "iris-data",
        also: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        variables = {
            "IRIS_API__AUTH": "cognito",
            "IRIS_MIRROR__BACKEND": "dynamodb",
            "IRIS_MIRROR__TABLE": table,
            "IRIS_OBJECTS__BACKEND": "s3",
            "IRIS_OBJECTS__BUCKET": bucket,
            "IRIS_OBJECTS__PREFIX": "site",
            "IRIS_AWS__REGION": "us-east-1",
            **also,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        self._handler = load_handler(HANDLER)

    def get(self, path: str, groups: str | None = VIEWER, **query: Any) -> Answered:
        return self.ask("GET", path, groups, query)

    def post(self, path: str, groups: str | None = ADMIN, **form: Any) -> Answered:
        return self.ask("POST", path, groups, {}, urlencode(form), "application/x-www-form-urlencoded")

    def post_json(self, path: str, content: Any, groups: str | None = ADMIN) -> Answered:
        return self.ask("POST", path, groups, {}, json.dumps(content), "application/json")

    def delete(self, path: str, groups: str | None = ADMIN) -> Answered:
        return self.ask("DELETE", path, groups, {})

    def ask(
        self,
        method: str,
        path: str,
        groups: str | None,
        query: Mapping[str, Any],
        body: str = "",
        content_type: str = "",
    ) -> Answered:
        event = http_event(method, path, groups, query)
        if body:
            event["headers"]["content-type"] = content_type
            event["body"] = body
        answer = self._handler(event, _Context())
        content = answer.get("body", "")
        said = base64.b64decode(content) if answer.get("isBase64Encoded") else content.encode()
        return Answered(answer["statusCode"], answer.get("headers", {}), said)


def load_handler(path: Path) -> Any:
    """A function's handler, its module loaded anew."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


class _Context:
    """What Lambda says of the call."""

    function_name = "iris-status"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:iris-status"
    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


def http_event(method: str, path: str, groups: str | None, query: Mapping[str, Any]) -> dict[str, Any]:
    """An event of an HTTP API with a JWT authoriser, payload format 2.0."""
    now = int(time.time())
    claims = {
        "sub": "8f7b2c1e-0000-4000-8000-000000000001",
        "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_ABCDEFGHI",
        "client_id": "1example23456789",
        "token_use": "access",
        "scope": "openid",
        "auth_time": str(now),
        "exp": str(now + 3600),
        "iat": str(now),
        "username": "someone",
        **({"cognito:groups": groups} if groups else {}),
    }
    authorizer = {"authorizer": {"jwt": {"claims": claims, "scopes": None}}} if groups is not None else {}
    text = urlencode(query)
    host = "abcdefghij.execute-api.us-east-1.amazonaws.com"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": text,
        "headers": {
            "accept": "*/*",
            "authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl",
            "content-length": "0",
            "host": host,
            "user-agent": "curl/8.14.1",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        **({"queryStringParameters": {k: str(v) for k, v in query.items()}} if query else {}),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            **authorizer,
            "domainName": host,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.14.1",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "31/Jan/2026:08:00:00 +0000",
            "timeEpoch": now * 1000,
        },
        "isBase64Encoded": False,
    }
