"""Asks the running gateway's API for listings; with the gateway down, reads the ledger itself, read-only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from gateway.api.callers.access import TOKEN_NAME
from gateway.api.callers.ledger_tokens import LedgerTokens
from gateway.api.ledger_store import LedgerStore
from gateway.api.store import Cut, NotFound, WhichQuarantined
from gateway.api.studies.study_filter import StudyQuery
from gateway.config.roles import Role
from gateway.files.names import API_ADDRESS_NAME, LEDGER_NAME
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible

NOT_RUNNING = "the gateway is not running; start it with `iris serve`, then repeat"
TIMEOUT_S = 10.0
BULK_TIMEOUT_S = 600.0
"""For ten thousand things and more, a hundred in a transaction."""


class StatusError(Exception):
    """The question has no answer; one sentence that says why and what to do."""


class StatusClient:
    """Answers "where is that study?".

    Parameters
    ----------
    data_dir
        The gateway's data directory: its address and token lie there.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def studies(self, query: StudyQuery) -> list[dict[str, Any]]:
        """The studies that are asked for; see `gateway.api.store.StatusStore.studies`.

        Raises
        ------
        StatusError
        """
        answer = self._ask("GET", "/api/v1/studies", query.model_dump(mode="json", exclude_defaults=True))
        if answer is None:
            with self._ledger() as ledger:
                answer = _store(ledger).studies(query.wanted, query.in_order, Cut(query.limit))
        items: list[dict[str, Any]] = answer["items"]
        return items

    def quarantine(
        self, *, limit: int, reason: str = "", sender: str = "", dismissed: bool = False
    ) -> list[dict[str, Any]]:
        """What waits for a person, the latest first; or, of objects, what was dismissed.

        Raises
        ------
        StatusError
        """
        given = {"reason": reason, "sender": sender, "dismissed": "true" if dismissed else ""}
        parameters = {name: value for name, value in given.items() if value}
        answer = self._ask("GET", "/api/v1/quarantine", {"limit": limit, **parameters})
        if answer is None:
            which = WhichQuarantined(reason, sender, dismissed)
            with self._ledger() as ledger:
                answer = _store(ledger).quarantine(which, Cut(limit))
        items: list[dict[str, Any]] = answer["items"]
        return items

    def study(self, study: str) -> dict[str, Any]:
        """One study, by its UID, its key, or the key of a job or delivery of it, or the beginning of one.

        Raises
        ------
        StatusError
            There is none, or nobody can be asked.
        """
        answer = self._ask("GET", f"/api/v1/studies/{study}")
        if answer is None:
            try:
                with self._ledger() as ledger:
                    answer = _store(ledger).study(study)
            except (NotFound, NotPossible) as error:
                raise StatusError(str(error)) from None
        if answer is None:
            raise StatusError("there is no such study here; `iris studies` lists them")
        return answer

    def quarantined(self, key: str, part: str = "") -> dict[str, Any]:
        """One thing in quarantine; or a part of it, the object's "/header".

        Raises
        ------
        StatusError
        """
        answer = self._ask("GET", f"/api/v1/quarantine/{key}{part}")
        if answer is None:
            raise StatusError(NOT_RUNNING)
        return answer

    def quarantined_object(self, key: str) -> bytes:
        """An object in quarantine as it came.

        Raises
        ------
        StatusError
        """
        answer = self._answer("GET", f"/api/v1/quarantine/{key}/object", BULK_TIMEOUT_S)
        if answer is None:
            raise StatusError(NOT_RUNNING)
        if answer.status_code != 200:
            raise StatusError(_problem(answer))
        return answer.content

    def act(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for something that only a running gateway does: POST to this path below /api/v1; its answer.

        Raises
        ------
        StatusError
        """
        answer = self._ask("POST", f"/api/v1/{path}", body=body)
        if answer is None:
            raise StatusError(NOT_RUNNING)
        return answer

    def act_on_many(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Ask for something to be done to many things, or how many they are; see `models.BulkOutcome`.

        Raises
        ------
        StatusError
        """
        answer = self._ask("POST", "/api/v1/actions", body=wish, timeout_s=BULK_TIMEOUT_S)
        if answer is None:
            raise StatusError(NOT_RUNNING)
        return answer

    def is_known(self, study: str) -> bool:
        """Whether the gateway still knows a study.

        Raises
        ------
        StatusError
        """
        answer = self._ask("GET", f"/api/v1/studies/{study}", accept=(200, 404))
        if answer is None:
            raise StatusError("the gateway has ended meanwhile; it goes on with that at its next start")
        return answer.get("status") != 404

    def job_file(self, job_key: str, name: str) -> bytes | None:
        """One of a job's files (`labels.nii.gz`); None where it has none.

        Raises
        ------
        StatusError
            The gateway does not run, or does not give it.
        """
        answer = self._answer("GET", f"/api/v1/jobs/{job_key}/{name}")
        if answer is None:
            raise StatusError(NOT_RUNNING)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise StatusError(_problem(answer))
        return answer.content

    def turned_away(self) -> list[dict[str, Any]]:
        """Who was last not let in at the DICOM port, the newest first; none with the gateway down."""
        answer = self._ask("GET", "/api/v1/door")
        items: list[dict[str, Any]] = [] if answer is None else answer["turned_away"]
        return items

    def mirror(self) -> dict[str, Any] | None:
        """How far the mirror is; None with the gateway down."""
        return self._ask("GET", "/api/v1/mirror")

    def rebuild_mirror(self) -> dict[str, Any] | None:
        """Let the gateway make the mirror's table anew; None with the gateway down.

        Raises
        ------
        StatusError
            It mirrors nothing.
        """
        return self._ask("POST", "/api/v1/mirror/rebuild")

    def is_running(self) -> bool:
        """Whether the gateway answers."""
        return self._ask("GET", "/healthz") is not None

    def readiness(self) -> dict[str, Any] | None:
        """What /readyz says; None with the gateway down."""
        return self._ask("GET", "/readyz", accept=(200, 503))

    def page_address(self) -> str:
        """The page's address with a code by which a browser signs in once, within ten minutes.

        Raises
        ------
        StatusError
        """
        made = self._ask("POST", "/api/v1/sign-in-codes")
        if made is None:
            raise StatusError(NOT_RUNNING)
        address = (self._data_dir / API_ADDRESS_NAME).read_text(encoding="utf-8").strip()
        return f"{address}{made['path']}"

    def tokens(self) -> list[dict[str, Any]]:
        """Every token that there is or was, the latest first.

        Raises
        ------
        StatusError
        """
        answer = self._ask("GET", "/api/v1/tokens")
        if answer is not None:
            items: list[dict[str, Any]] = answer["items"]
            return items
        with self._ledger() as ledger:
            return LedgerTokens(ledger).listed()

    def create_token(self, name: str, role: Role, expires_days: float | None) -> dict[str, Any]:
        """Make a token, with the gateway running or not; the answer has it, once.

        Raises
        ------
        StatusError, LedgerError
        """
        wish = {"name": name, "role": role, "expires_days": expires_days}
        made = self._ask("POST", "/api/v1/tokens", body=wish)
        if made is not None:
            return made
        with self._written_ledger() as ledger:
            return LedgerTokens(ledger).create(name, role, expires_days)

    def revoke_token(self, name_or_prefix: str) -> dict[str, Any]:
        """End a token at once, with the gateway running or not.

        Raises
        ------
        StatusError, LedgerError
        """
        ended = self._ask("POST", f"/api/v1/tokens/{quote(name_or_prefix, safe='')}/revoke")
        if ended is not None:
            return ended
        with self._written_ledger() as ledger:
            return LedgerTokens(ledger).revoke(name_or_prefix)

    def _ask(
        self,
        method: str,
        path: str,
        parameters: dict[str, str | int] | None = None,
        accept: tuple[int, ...] = (200, 201, 202),
        body: dict[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any] | None:
        """What the API answers, or None when no gateway is running."""
        answer = self._answer(method, path, timeout_s, params=parameters, json=body)
        if answer is None:
            return None
        if answer.status_code in accept:
            content: dict[str, Any] = answer.json()
            return content
        raise StatusError(_problem(answer))

    def _answer(
        self, method: str, path: str, timeout_s: float = TIMEOUT_S, **content: Any
    ) -> httpx.Response | None:
        """The same as it came, whatever its status."""
        try:
            address = (self._data_dir / API_ADDRESS_NAME).read_text(encoding="utf-8").strip()
        except OSError:
            return None
        token = self._data_dir / TOKEN_NAME
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.is_file() else {}
        try:
            answer = httpx.request(
                method,
                address + path,
                headers=headers,
                timeout=timeout_s,
                trust_env=False,  # a proxy has no business between this machine and itself
                **content,
            )
        except httpx.ReadTimeout:
            raise StatusError(f"the gateway did not answer within {timeout_s:g} s; look at its log") from None
        except httpx.HTTPError:
            return None
        if answer.status_code == 401:
            raise StatusError(
                f"the running gateway does not take the token in {token}, with which it began; put that one "
                "back, or start the gateway anew"
            )
        return answer

    @contextmanager
    def _written_ledger(self) -> Iterator[Ledger]:
        """The ledger of a gateway that does not run, to write into."""
        if not (self._data_dir / LEDGER_NAME).exists():
            raise StatusError(f"there is no ledger in {self._data_dir}; look at site.data_dir")
        try:
            with Ledger(self._data_dir / LEDGER_NAME) as ledger:
                yield ledger
        except NotPossible as error:
            raise StatusError(str(error)) from None

    def _ledger(self) -> Ledger:
        return Ledger(self._data_dir / LEDGER_NAME, read_only=True)


def _store(ledger: Ledger) -> LedgerStore:
    return LedgerStore(ledger, lambda study_uid: "no gateway is running; `iris serve` goes on with it")


def _problem(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"the gateway answered {answer.status_code}"
