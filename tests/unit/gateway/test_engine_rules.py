"""Rules are checked against what the engine has, before anything is served."""

from typing import Any

import pytest

from batch_job.contract import engine_facts
from gateway.config import Config, ConfigError
from gateway.configured import engine_version, task_rules, warnings_about

FACTS = engine_facts("totalsegmentator")
CALL = ("segment", "{input}", "{output}")


def config(*rules: dict[str, Any], version: str = "") -> Config:
    rule = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    return Config(engine={"name": "totalsegmentator", "version": version}, rule=rule)


def test_rule_without_a_task_takes_the_engines_own() -> None:
    (rule,) = task_rules(config({"when": {"Modality": "CT"}}), FACTS)
    assert (rule.task, rule.modality) == ("total", "CT")


def test_rules_for_ct_and_mr_have_their_tasks_and_canonical_options() -> None:
    ct, mr = task_rules(
        config(
            {"when": {"Modality": "CT"}, "options": {"roi_subset": ["spleen", "liver"]}},
            {"when": {"Modality": "MR"}, "task": "total_mr", "options": {"fast": True}},
        ),
        FACTS,
    )
    assert ct.compiled.rule.options["roi_subset"] == ["liver", "spleen"]
    assert (mr.task, mr.modality, mr.compiled.rule.options["fast"]) == ("total_mr", "MR", True)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"task": "lungs"}, "rule rule-0: totalsegmentator has no task"),
        ({"options": {"speed": 1}}, 'has no option "speed"'),
        ({"task": "breasts", "options": {"fast": True}}, "the task breasts has no fast model"),
        ({"options": {"roi_subset": ["livver"]}}, "is liver meant"),
        ({"task": "total_mr", "when": {"Modality": "CT"}}, "works on MR"),
    ],
)
def test_rule_that_the_engine_cannot_follow_is_refused_with_its_name(
    rule: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as raised:
        task_rules(config(rule), FACTS)
    assert "rule rule-0: " in str(raised.value)


def test_version_for_the_identity_is_the_configured_one_else_the_one_that_is_known() -> None:
    assert engine_version(config(version="2.18.0+ours"), FACTS) == "2.18.0+ours"
    assert engine_version(config(), FACTS) == FACTS.version  # the recorded one: it is not installed here


def test_engine_that_is_not_installed_is_warned_about_at_start() -> None:
    assert any("TotalSegmentator is not installed here" in sentence for sentence in warnings_about(config()))
    assert not any("installed" in sentence for sentence in warnings_about(Config()))


@pytest.mark.parametrize(
    ("named", "is_said"), [({"image": "tool@sha256:1"}, True), ({"command": CALL}, False)]
)
def test_container_image_is_said_to_start_nothing_in_aws_batch(named: dict[str, Any], is_said: bool) -> None:
    engine = {"name": "container", **named}
    batch = {"backend": "batch", "job_queue": "queue", "job_definition": "definition"}
    elsewhere = Config(engine=engine, queue=batch, objects={"backend": "s3", "bucket": "bucket"})
    assert any("IRIS_ENGINE__COMMAND" in sentence for sentence in warnings_about(elsewhere)) is is_said
    assert not any("engine.image" in sentence for sentence in warnings_about(Config(engine=engine)))
