"""From a study into the site's viewer, and from a run to its log."""

import pytest

from gateway.api.ledger_store import LedgerStore
from gateway.api.store import Cut
from gateway.api.studies.links import Links
from gateway.config import Config, ConfigError, load_config
from gateway.ledger.finding import StudyFilter

OHIF = "https://viewer.example/viewer?StudyInstanceUIDs={study_uid}"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("viewer.example/{study_uid}", "is no address; one begins with https:// or http://"),
        ("javascript:alert({study_uid})", "is no address"),
        ("https://viewer.example/ {study_uid}", "has no blanks"),
        ("https://viewer.example/", "would be the same for each study; it needs one of {study_uid}"),
        (
            "https://viewer.example/{study}",
            "cannot be filled in ({study}); known, and as they are: {study_uid}",
        ),
        ("https://viewer.example/{study_uid:>9}", "cannot be filled in ({study_uid})"),
        ("https://viewer.example/{study_uid", "has a brace too many or too few"),
    ],
)
def test_viewer_address_that_cannot_be_one_is_refused_at_start(
    tmp_path, template: str, sentence: str
) -> None:
    (tmp_path / "iris.toml").write_text(f'[api]\nviewer_url = "{template}"\n')
    with pytest.raises(ConfigError, match=r"api\.viewer_url") as refused:
        load_config(tmp_path / "iris.toml")
    assert sentence in str(refused.value)


def test_viewer_address_of_each_study_is_filled_in_and_encoded(world) -> None:
    world.study(1)
    with world.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET patient_id = 'A/1 &?', accession_number = ''")
    url = Config(api={"viewer_url": f"{OHIF}&patient={{patient_id}}"}).api.viewer_url
    store = LedgerStore(world.ledger, links=Links(url))
    wanted = "https://viewer.example/viewer?StudyInstanceUIDs=1.2.826.0.1.1&patient=A%2F1%20%26%3F"
    assert (store.study("key0001") or {})["viewer_url"] == wanted
    assert [each["viewer_url"] for each in store.studies(StudyFilter(), None, Cut(9))["items"]] == [wanted]
    for viewer in ("", "https://viewer.example/{accession_number}"):  # which it lacks
        assert (LedgerStore(world.ledger, links=Links(viewer)).study("key0001") or {})["viewer_url"] is None


def test_upload_has_no_place_in_the_viewer() -> None:
    upload = {"study_uid": "2.25.1", "jobs": [{"rule": "upload"}]}
    assert Links(OHIF).viewer_of(upload) is None


def test_run_at_aws_batch_leads_to_its_log(world) -> None:
    job_key = world.job(world.study())
    world.runs(job_key)
    with world.ledger.transaction() as transaction:
        transaction.step("job.starting", transaction.job(job_key), run=2, log_stream="iris/default/ab$c")
    store = LedgerStore(world.ledger, links=Links("", "eu-west-1"))
    for shown in ((store.study("key0001") or {})["jobs"][0], store.job(job_key) or {}):
        first, second = shown["runs"]
        assert (first["log_stream"], first["log_url"]) == (None, None)
        assert second["log_stream"] == "iris/default/ab$c"
        assert second["log_url"] == (
            "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
            "#logsV2:log-groups/log-group/$252Faws$252Fbatch$252Fjob/log-events/iris$252Fdefault$252Fab$2524c"
        )
