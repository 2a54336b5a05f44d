"""Results that are held since their destination has the study for another patient's."""

import pytest

from gateway.ledger.deliveries import next_delivery, pending_deliveries
from gateway.ledger.holding import hold_result, is_released
from gateway.ledger.revisits import note_came_again
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.under_way import MAY_BE_THERE, begin
from gateway.ledger.work import release
from tests.integration.test_delivery_worker import Site, site

__all__ = ["site"]


def hold(ledger: Ledger, site: Site) -> None:
    with ledger.transaction() as transaction:
        hold_result(transaction, site.delivery(), "the sentence")


def test_held_result_is_not_sent_and_goes_again_when_it_is_released(site: Site) -> None:
    assert not is_released(site.ledger, "job")
    hold(site.ledger, site)
    assert site.job_state() is JobState.QUARANTINED
    assert next_delivery(site.ledger, "pacs") is None
    assert next_delivery(site.ledger, "pacs", due=[site.delivery().key]) is None
    assert not list(pending_deliveries(site.ledger, "pacs"))
    hold(site.ledger, site)  # by another destination
    with site.ledger.transaction() as transaction:
        release(transaction, "job")
    assert is_released(site.ledger, "job")
    assert site.job_state() is JobState.ENCODED
    assert next_delivery(site.ledger, "pacs") == site.delivery()


def test_release_counts_for_the_result_that_was_there_when_a_person_looked(site: Site) -> None:
    hold(site.ledger, site)
    with site.ledger.transaction() as transaction:
        release(transaction, "job")
        transaction.move_job("job", JobEvent.HEADER_CORRECTED)
        transaction.move_job("job", JobEvent.ENCODED)
    assert not is_released(site.ledger, "job")


def test_result_that_is_sent_once_more_fails_instead_of_being_held(site: Site) -> None:
    key = site.delivery().key
    with site.ledger.transaction() as transaction:
        transaction.move_delivery(key, DeliveryEvent.SENT)
        transaction.move_delivery(key, DeliveryEvent.RESENT)
    hold(site.ledger, site)
    reason = f"the sentence; {MAY_BE_THERE}"
    assert (site.delivery().state, site.delivery().reason) == (DeliveryState.FAILED, reason)
    assert site.job_state() is JobState.DELIVERED
    with pytest.raises(StaleRow):
        hold(site.ledger, site)


def test_held_result_whose_images_come_again_as_they_are_has_its_destination_asked_anew(site: Site) -> None:
    hold(site.ledger, site)
    (row,) = site.ledger.read("SELECT study_uid, name FROM jobs JOIN job_images USING (job_key)")
    for came, state in (("1.2.3", JobState.QUARANTINED), (row["name"], JobState.SEGMENTED)):
        with site.ledger.transaction() as transaction:
            is_asked = note_came_again(transaction, row["study_uid"], [came])
        assert is_asked == (came == row["name"])
        assert site.job_state() is state
    assert site.delivery().state is DeliveryState.SUPERSEDED  # planned again when the result is
    assert not is_released(site.ledger, "job")


def test_object_that_gave_way_is_called_off_and_the_newer_one_is_not_held(site: Site) -> None:
    key = site.delivery().key
    with site.ledger.transaction() as transaction:
        begin(transaction, [key])
        transaction.execute("UPDATE result_objects SET is_current = 0")
    hold(site.ledger, site)
    assert site.delivery().state is DeliveryState.CANCELLED
    assert site.delivery().reason == f"the sentence; {MAY_BE_THERE}"
    assert site.job_state() is JobState.ENCODED
