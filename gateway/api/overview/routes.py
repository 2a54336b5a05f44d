"""What an operator asks first: how everything stands, what a day or a month brought, is that PACS there."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Security
from fastapi.security import HTTPBearer

from ..problems import DOCUMENTED, NOT_IN_THE_CLOUD
from ..store import NotFound, NotHere
from . import models as overview_models
from .overview import Overviews
from .premises import Premises

NO_HISTORY: Final = "what hours and days brought is known at each gateway: ask for that there"
NO_DESTINATIONS: Final = "nothing is sent from here: each gateway tries its own destinations"

Span = Annotated[
    Literal["day", "month"],
    Query(description="day: the last 24 hours by the hour; month: 30 days by the day"),
]
Name = Annotated[str, Path(max_length=100, description="A configured destination")]


def overview_routes(overviews: Overviews, premises: Premises | None) -> APIRouter:
    """/api/v1/overview and what belongs to it; `premises` is None in the cloud."""
    router = APIRouter(
        prefix="/api/v1",
        responses=DOCUMENTED,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["overview"],
    )

    @router.get("/overview", response_model=overview_models.Overview)
    def show_overview() -> overview_models.Overview:
        """Whether all is well, and how everything stands.

        In the cloud it is what the mirror has of every gateway, counted once a minute.
        """
        return overviews.look()

    @router.get("/history", response_model=overview_models.History, responses=NOT_IN_THE_CLOUD)
    def show_history(span: Span = "day") -> overview_models.History:
        """What each hour or day brought: received, delivered, failed, how long each stage took, at what cost.

        The present one is up to a minute old.
        """
        if premises is None:
            raise NotHere(NO_HISTORY)
        return premises.histories.of(span)

    @router.post(
        "/destinations/{name}/test",
        response_model=overview_models.DestinationTried,
        responses=NOT_IN_THE_CLOUD,
    )
    def try_destination(name: Name) -> overview_models.DestinationTried:
        """Ask a destination as `iris doctor` does: is it there, and what does it take; nothing is sent."""
        if premises is None:
            raise NotHere(NO_DESTINATIONS)
        try:
            checks = premises.tried(name)
        except KeyError:
            raise NotFound("there is no destination of that name") from None
        return overview_models.DestinationTried.model_validate(
            {
                "name": name,
                "checks": [
                    {"verdict": each.verdict, "finding": each.finding, "fix": each.fix} for each in checks
                ],
            }
        )

    return router
