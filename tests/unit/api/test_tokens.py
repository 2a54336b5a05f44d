"""Tokens and roles: who may do what, and for how long."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from gateway.api.app import create_api
from gateway.api.callers.access import TOKEN_NAME, Access
from gateway.api.callers.roles import ANYBODY, NEEDS, OPEN, needed_role
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.server import ApiServer
from gateway.cli import app
from gateway.config.roles import Role
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger import records, tokens


@pytest.fixture
def make(client: httpx.Client) -> Callable[..., str]:
    """Makes a token by the API."""

    def make(role: str, name: str = "someone", **wish: Any) -> str:
        answer = client.post("/api/v1/tokens", json={"name": name, "role": role, **wish})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    return make


@pytest.fixture
def ask(stranger: httpx.Client) -> Callable[..., httpx.Response]:
    """Asks with a token."""

    def ask(token: str, method: str, path: str, **content: Any) -> httpx.Response:
        return stranger.request(method, path, headers={"Authorization": f"Bearer {token}"}, **content)

    return ask


# -- roles --------------------------------------------------------------------------------------------------


def test_every_operation_has_its_role_in_the_table_and_no_other_is_there(world) -> None:
    api = create_api(
        LedgerStore(world.ledger), LedgerActions(world.ledger), lambda: world.readiness, world.bus,
        Access(None), world, world.uploads,
    )  # fmt: skip
    told = {f"{method.upper()} {path}" for path, of in api.openapi()["paths"].items() for method in of}
    table = [*(line for lines in NEEDS.values() for line in lines), *ANYBODY, *OPEN]
    assert len(table) == len(set(table))
    assert told <= set(table)
    pages = {"GET /", "GET /page/{file:path}", "GET /docs", "GET /openapi.json", "POST /sign-out"}
    assert set(table) - told == pages  # of which it does not tell


@pytest.mark.parametrize(
    ("request_line", "needed"),
    [
        ("GET /api/v1/studies/1.2.3", Role.VIEWER),
        ("HEAD /api/v1/studies", Role.VIEWER),
        ("POST /api/v1/studies/1.2.3/complete", Role.OPERATOR),
        ("POST /api/v1/studies/1.2.3/forget", Role.ADMIN),
        ("POST /dicom-web/studies/1.2.3", Role.SENDER),
        ("GET /api/v1/me", None),
        ("GET /not/there/yet", Role.ADMIN),
        ("DELETE /api/v1/studies/1.2.3", Role.ADMIN),
        ("POST /api/v1/studies/1.2.3/complete/", Role.ADMIN),
    ],
)
def test_operation_needs_what_the_table_says_and_else_an_admin(
    request_line: str, needed: Role | None
) -> None:
    method, _, path = request_line.partition(" ")
    assert needed_role({"method": method, "path": path}) is needed


@pytest.mark.parametrize(
    ("role", "reading", "acting", "erasing", "tokens"),
    [
        ("viewer", 200, 403, 403, 403),
        ("operator", 200, 404, 403, 403),
        ("admin", 200, 404, 404, 200),
        ("sender", 403, 403, 403, 403),
    ],
)
def test_token_opens_what_its_role_may(
    make: Callable[..., str],
    ask: Callable[..., Any],
    role: str,
    reading: int,
    acting: int,
    erasing: int,
    tokens: int,
) -> None:
    token = make(role)
    assert ask(token, "GET", "/api/v1/me").json() == {"name": "someone", "role": role, "expires": None}
    assert ask(token, "GET", "/metrics").status_code == reading
    assert ask(token, "POST", "/api/v1/jobs/none/retry").status_code == acting
    assert ask(token, "POST", "/api/v1/studies/none/forget").status_code == erasing
    assert ask(token, "GET", "/api/v1/tokens").status_code == tokens


def test_who_may_not_is_told_the_role_that_it_takes(
    make: Callable[..., str], ask: Callable[..., Any]
) -> None:
    answer = ask(make("viewer", "night-shift"), "POST", "/api/v1/jobs/none/retry")
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json()["detail"] == (
        "that needs the role operator, and night-shift has the role viewer; ask an admin"
    )


def test_author_in_the_timeline_is_the_tokens_name(
    world, make: Callable[..., str], ask: Callable[..., Any]
) -> None:
    job_key = world.job(world.study())
    ask(make("operator", "night-shift"), "POST", f"/api/v1/jobs/{job_key}/cancel")
    (line,) = [
        line
        for line in LedgerStore(world.ledger).job(job_key)["timeline"]
        if line["event"] == "job.cancelled"
    ]
    assert line["detail"]["by"] == "night-shift"


# -- made, kept, ended --------------------------------------------------------------------------------------


def test_token_is_told_once_and_kept_as_its_digest(
    world, client: httpx.Client, make: Callable[..., str]
) -> None:
    token = make("viewer", "prometheus")
    assert token.startswith("iris_")
    assert len(token) == 48
    (item,) = client.get("/api/v1/tokens").json()["items"]
    assert item["prefix"] == token[:11]
    assert (item["name"], item["role"], item["state"], item["created_by"]) == (
        "prometheus", "viewer", "valid", "admin-token",
    )  # fmt: skip
    world.ledger.checkpoint()
    with closing(sqlite3.connect(world.ledger.path)) as other:
        (row,) = other.execute("SELECT * FROM tokens").fetchall()
    assert token not in map(str, row)


def test_token_that_is_revoked_opens_nothing_from_then_on_nor_do_its_sessions(
    client: httpx.Client, stranger: httpx.Client, make: Callable[..., str], ask: Callable[..., Any]
) -> None:
    token = make("viewer", "wall")
    stranger.post("/", data={"token": token})
    assert stranger.get("/api/v1/studies").status_code == 200
    assert client.post("/api/v1/tokens/wall/revoke").json()["state"] == "revoked"
    answer = ask(token, "GET", "/api/v1/studies")
    assert answer.status_code == 401
    assert "the token wall was revoked on" in answer.json()["detail"]
    answer = stranger.get("/api/v1/studies")
    assert answer.status_code == 401
    assert "The token wall was revoked on" in stranger.get("/").text


def test_stream_of_events_ends_when_its_token_is_revoked(
    world, client: httpx.Client, stranger: httpx.Client, make: Callable[..., str]
) -> None:
    headers = {"Authorization": f"Bearer {make('viewer', 'wall')}"}
    with stranger.stream("GET", "/api/v1/events", headers=headers) as events:
        lines = events.iter_lines()
        assert next(lines) == "retry: 2000"
        client.post("/api/v1/tokens/wall/revoke")
        world.study()  # something to tell, which it is not told
        assert not any(line.startswith("data:") for line in lines)


def test_token_after_its_time_opens_nothing(
    make: Callable[..., str], ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make("viewer", "guest", expires_days=1)
    assert ask(token, "GET", "/api/v1/me").json()["expires"] is not None
    later = records.utc_in(86401)
    monkeypatch.setattr(tokens, "utc_now", lambda: later)
    answer = ask(token, "GET", "/api/v1/me")
    assert (answer.status_code, "the token guest expired on" in answer.json()["detail"]) == (401, True)


@pytest.mark.parametrize("name", ["", "Wall", "a b", "-a", "a" * 65, "admin-token", "anyone", "a\n", "é"])
def test_token_under_a_name_that_cannot_be_had_is_not_made(client: httpx.Client, name: str) -> None:
    answer = client.post("/api/v1/tokens", json={"name": name, "role": "viewer"})
    assert answer.status_code in (409, 422)
    assert client.get("/api/v1/tokens").json()["items"] == []


def test_token_whose_end_is_misspelt_is_not_made_without_one(client: httpx.Client) -> None:
    answer = client.post("/api/v1/tokens", json={"name": "guest", "role": "viewer", "expires": "2027-01-01"})
    assert (answer.status_code, "expires: is a key" in answer.json()["detail"]) == (422, True)
    assert client.get("/api/v1/tokens").json()["items"] == []


def test_name_is_free_again_once_its_token_is_revoked(client: httpx.Client, make: Callable[..., str]) -> None:
    make("viewer", "prometheus")
    answer = client.post("/api/v1/tokens", json={"name": "prometheus", "role": "viewer"})
    assert (answer.status_code, "revoke it first" in answer.json()["detail"]) == (409, True)
    client.post("/api/v1/tokens/prometheus/revoke")
    make("viewer", "prometheus")
    states = [item["state"] for item in client.get("/api/v1/tokens").json()["items"]]
    assert states == ["valid", "revoked"]
    answer = client.post("/api/v1/tokens/nobody/revoke")
    assert (answer.status_code, "iris token list" in answer.json()["detail"]) == (409, True)


def test_token_that_is_asked_for_while_the_ledger_is_damaged_is_a_problem_with_the_way_out(
    world, make: Callable[..., str], ask: Callable[..., Any]
) -> None:
    token = make("viewer")
    with closing(sqlite3.connect(world.ledger.path)) as other:
        other.execute("UPDATE tokens SET name = CAST(x'4AFF' AS TEXT)")
        other.commit()
    answer = ask(token, "GET", "/api/v1/studies")
    assert (answer.status_code, "iris ledger rebuild" in answer.json()["detail"]) == (503, True)


# -- the command --------------------------------------------------------------------------------------------


@pytest.fixture(params=["running", "down"])
def iris(request: pytest.FixtureRequest, world, tmp_path: Path, token: str) -> Callable[..., Any]:
    if request.param == "running":
        server: ApiServer = request.getfixturevalue("server")
        (tmp_path / API_ADDRESS_NAME).write_text("http://{}:{}".format(*server.address))
    else:
        world.ledger.close()
    (tmp_path / TOKEN_NAME).write_text(token)
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["token", *arguments, "--config", str(tmp_path / "iris.toml")])

    return run


def test_tokens_are_made_listed_and_revoked_by_the_command_with_and_without_a_gateway(
    iris: Callable[..., Any],
) -> None:
    assert iris("list").stdout.startswith("no tokens yet")
    made = iris("create", "--role", "viewer", "--name", "prometheus", "--expires-days", "30", "--json")
    token = json.loads(made.stdout)["token"]
    other = iris("create", "--role", "operator", "--name", "nurse").stdout
    assert other.startswith("iris_")
    assert "it is not shown again" in other
    (header, *lines) = iris("list").stdout.splitlines()
    assert header.split() == ["name", "begins", "role", "state", "created", "by", "ends"]
    assert [line.split()[:4] for line in lines] == [
        ["nurse", other[:11], "operator", "valid"],
        ["prometheus", token[:11], "viewer", "valid"],
    ]
    assert "opens nothing any more" in iris("revoke", token[:11]).stdout
    items = json.loads(iris("list", "--json").stdout)["items"]
    assert [(item["name"], item["state"]) for item in items] == [
        ("nurse", "valid"),
        ("prometheus", "revoked"),
    ]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["create", "--role", "viewer", "--name", "A b"], 1, "a token's name has"),
        (["create", "--role", "boss", "--name", "a"], 2, "'boss'"),
        (["revoke", "nobody"], 1, "iris token list"),
    ],
)
def test_command_about_a_token_that_cannot_be_says_why(
    iris: Callable[..., Any], arguments: list[str], exit_code: int, said: str
) -> None:
    done = iris(*arguments)
    assert (done.exit_code, said in done.stderr) == (exit_code, True), done.stderr


def test_code_is_printed_as_an_address_while_the_gateway_runs(
    iris: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    done = iris("code")
    if done.exit_code:
        assert "the gateway is not running" in done.stderr
    else:
        stranger: httpx.Client = request.getfixturevalue("stranger")
        assert stranger.get(done.stdout.strip()).status_code == 303
