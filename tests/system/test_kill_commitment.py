"""Killed in each state of a storage commitment that it asks for, the gateway ends with what is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.pledge_report import NO_SUCH_INSTANCE
from tests.doubles.keeper import Keeper

from .test_kill import done

LOST_FIRST = ("delivery.commitment_refused:before", "delivery.commitment_refused:after")


@pytest.mark.parametrize(
    "kill_at",
    [
        "delivery.commitment_begun:after",
        "delivery.committed:before",
        LOST_FIRST[1],
        *(
            pytest.param(each, marks=pytest.mark.long)
            for each in ("delivery.sent:after", "delivery.committed:after", LOST_FIRST[0])
        ),
    ],
)
def test_gateway_killed_while_its_result_is_to_be_kept_has_it_kept(
    kill_at: str, make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path
) -> None:
    keeper = Keeper("same", failures={"any": NO_SUCH_INSTANCE} if kill_at in LOST_FIRST else {})
    with keeper.runs():
        world = make_world(("pacs", "PACS", keeper.port), config="commitment = true\n")
        study_uid = write_study(tmp_path / "study", seed=kill_at)
        world.start(kill_at)
        world.send(tmp_path / "study")
        world.until_revived()
        study = world.until(study_uid, done)
        assert [(one["state"], one["reason"]) for one in study["deliveries"]] == [("committed", "")]
        assert len(keeper.digests) == 1
        assert world.stop() == 0
