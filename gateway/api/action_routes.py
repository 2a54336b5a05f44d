"""What a person asks of many things at once, and of deliveries: under /api/v1."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from gateway.config.roles import Role
from gateway.ledger.bulk import Action

from . import action_models, models
from .problems import DOCUMENTED, NOT_IN_THE_CLOUD
from .store import Actions, BulkWish, Json
from .studies.routes import ASKED_FOR

Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


def action_routes(actions: Actions) -> APIRouter:
    """Everything by which something is done with what is sent, and in bulk."""
    router = APIRouter(
        prefix="/api/v1", responses=DOCUMENTED, dependencies=[Security(HTTPBearer(auto_error=False))]
    )
    _add_deliveries(router, actions)

    @router.post(
        "/actions", response_model=action_models.BulkOutcome, responses=NOT_IN_THE_CLOUD, tags=["actions"]
    )
    def act_in_bulk(wish: action_models.BulkAction, request: Request) -> Json:
        """Do something to all things that a filter finds; first say how many they are.

        A hundred are done at a time. What moves meanwhile, or does not allow it, is left alone. To forget
        studies is an admin's.
        """
        if wish.action is Action.FORGET and not request.state.caller.role.may(Role.ADMIN):
            raise HTTPException(403, f"to forget studies needs the role {Role.ADMIN}; ask an admin")
        wanted = wish.filter
        return actions.in_bulk(
            BulkWish(
                action=wish.action,
                key=wanted.key,
                state=wanted.state,
                destination=wanted.destination,
                output=wanted.output,
                since=wanted.since,
                until=wanted.until,
                reason=wanted.reason,
                object_sender=wanted.object_sender,
                studies=wanted.studies,
                to=wish.arguments.to,
                is_dry_run=wish.dry_run,
            )
        )

    return router


def _add_deliveries(router: APIRouter, actions: Actions) -> None:
    @router.get("/destinations", response_model=models.DestinationList, tags=["deliveries"])
    def list_destinations() -> Json:
        """The destinations that are configured, and those that something still waits for, by name."""
        return {"items": actions.destination_list()}

    @router.post("/deliveries/{key}/retry", tags=["deliveries"], **ASKED_FOR)
    def retry_delivery(key: Key) -> Json:
        """Send at once what failed or waits."""
        return actions.retry(key)

    @router.post("/deliveries/{key}/resend", tags=["deliveries"], **ASKED_FOR)
    def resend_delivery(key: Key, also: Annotated[action_models.AlsoTo | None, Body()] = None) -> Json:
        """Send once more what arrived, or to another destination as well."""
        return actions.resend(key, also.to if also is not None else "")

    @router.post("/deliveries/{key}/redirect", tags=["deliveries"], **ASKED_FOR)
    def redirect_delivery(key: Key, new: models.NewDestination) -> Json:
        """Send what failed or waits to another destination instead."""
        return actions.redirect(key, new.to)

    @router.post("/deliveries/{key}/drop", tags=["deliveries"], **ASKED_FOR)
    def drop_delivery(key: Key) -> Json:
        """Do not send what failed or waits any more; a job is over with the last of its deliveries."""
        return actions.drop(key)
