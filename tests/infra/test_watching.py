"""Alarms, dashboard, budget and working hours: what they say is read, and ministack makes them of it.

Each metric that they look at is one that the gateway puts (`gateway/adapters/measures.py`) or one of AWS.
"""

import json
from typing import Any

import pytest

from gateway.adapters.measures import SITE, Measure
from gateway.commands.stack_config import config_text
from gateway.config import Fallback, Watch
from gateway.mirror.worker import LAG_WORTH_SAYING_S
from tests.infra.conftest import WATCHED
from tests.infra.deployment import API, Aws, Deployed, fresh
from tests.infra.ministack import Ministack

Metric = tuple[str, str, tuple[tuple[str, str], ...]]
"""Namespace, name, dimensions."""
NONE = {"MonthlyBudgetUsd": "0", "TimeZone": "Etc/UTC"}
A_WORKING_DAY_S = 12 * 3600


@pytest.fixture(scope="module")
def watched(empty_aws: Aws, moto_server: str) -> Deployed:
    """The template with everything that watches it."""
    fresh(moto_server)
    return empty_aws.deploy("iris-oculus-backend", **WATCHED)


@pytest.fixture(scope="module")
def usual(watched: Deployed) -> Deployed:
    """What the template says without these choices."""
    return Deployed(watched.aws, watched.stack, {**watched.parameters, **dict.fromkeys(WATCHED, ""), **NONE})


@pytest.fixture(scope="module")
def alarms(watched: Deployed) -> dict[str, dict[str, Any]]:
    return dict(watched.of_type("AWS::CloudWatch::Alarm"))


@pytest.fixture(scope="module")
def widgets(watched: Deployed) -> list[dict[str, Any]]:
    """The dashboard's parts, as CloudWatch has them."""
    name = watched.ids["Dashboard"]
    body = watched.aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    assert "${" not in body
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def metric_of_alarm(alarm: dict[str, Any]) -> Metric:
    dimensions = tuple((each["Name"], each["Value"]) for each in alarm["Dimensions"])
    return alarm["Namespace"], alarm["MetricName"], dimensions


def metrics_of(widgets: list[dict[str, Any]]) -> list[Metric]:
    lines = [line for widget in widgets for line in widget["properties"].get("metrics", [])]
    plain = [[word for word in line if isinstance(word, str)] for line in lines]
    return [
        (words[0], words[1], tuple(zip(words[2::2], words[3::2], strict=True))) for words in plain if words
    ]


def of_aws(watched: Deployed) -> set[Metric]:
    """AWS's own metrics that there are of this stack."""
    queues = [watched.ids[name].rpartition("/")[2] for name in ("News", "DeadNews", "DeadJobNews")]
    queue = {
        ("AWS/SQS", name, (("QueueName", each),))
        for each in queues
        for name in ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage")
    }
    rule = watched.ids["JobRule"]
    web = {("AWS/ApiGateway", "5xx", (("ApiId", API),))}
    return (
        queue
        | web
        | {("AWS/Events", name, (("RuleName", rule),)) for name in ("FailedInvocations", "TriggeredRules")}
    )


def test_alarms_and_dashboard_look_at_metrics_that_there_are_and_at_all_that_the_gateway_puts(
    watched: Deployed, alarms: dict[str, dict[str, Any]], widgets: list[dict[str, Any]]
) -> None:
    ours = {(Watch().namespace, measure.value, ((SITE, "north"),)) for measure in Measure}
    looked_at = {*map(metric_of_alarm, alarms.values()), *metrics_of(widgets)}
    assert looked_at - ours - of_aws(watched) == set()
    assert ours - looked_at == set()  # each has its price


def test_every_alarm_tells_the_topic_when_it_begins_and_when_it_ends(
    watched: Deployed, alarms: dict[str, dict[str, Any]]
) -> None:
    topic = watched.ids["AlarmTopic"]
    assert len(alarms) == 8
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert alarm["AlarmDescription"]


def test_gateway_that_says_nothing_is_an_alarm_and_silence_of_anything_else_is_none(
    alarms: dict[str, dict[str, Any]],
) -> None:
    breaching = {name for name, of in alarms.items() if of["TreatMissingData"] == "breaching"}
    assert breaching == {"HeartbeatAlarm"}
    assert {of["TreatMissingData"] for of in alarms.values()} == {"breaching", "notBreaching"}
    heartbeat = alarms["HeartbeatAlarm"]
    assert (heartbeat["ComparisonOperator"], heartbeat["Threshold"]) == ("LessThanThreshold", 1)
    longest = next(each.le for each in Watch.model_fields["every_s"].metadata if hasattr(each, "le"))
    assert heartbeat["Period"] >= longest


def test_alarms_come_later_than_what_the_gateway_does_by_itself(
    usual: Deployed, alarms: dict[str, dict[str, Any]]
) -> None:
    without_hours = dict(usual.of_type("AWS::CloudWatch::Alarm"))
    assert without_hours["StuckJobsAlarm"]["Threshold"] > Fallback().after_s
    assert without_hours["MirrorLagAlarm"]["Threshold"] > LAG_WORTH_SAYING_S
    assert alarms["StuckJobsAlarm"]["Threshold"] > A_WORKING_DAY_S


def test_dashboard_shows_every_alarm(
    watched: Deployed, alarms: dict[str, dict[str, Any]], widgets: list[dict[str, Any]]
) -> None:
    [shown] = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert {arn.rpartition(":")[2] for arn in shown} == {of["AlarmName"] for of in alarms.values()}


def test_topic_takes_alarms_of_this_account_alone_and_is_sealed_with_a_key_that_lets_them_in(
    watched: Deployed,
) -> None:
    [(_, topic)] = watched.of_type("AWS::SNS::Topic")
    assert topic["KmsMasterKeyId"] == watched.ids["Key"]
    [(_, policy)] = watched.of_type("AWS::SNS::TopicPolicy")
    [(_, key)] = watched.of_type("AWS::KMS::Key")
    sealing = {each["Sid"]: each for each in key["KeyPolicy"]["Statement"]}["AlarmsGoToTheTopic"]
    publishing = policy["PolicyDocument"]["Statement"][0]
    for statement in (sealing, publishing):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert list(statement["Condition"]["StringEquals"]) == ["aws:SourceAccount"]
    [(_, mail)] = watched.of_type("AWS::SNS::Subscription")
    assert (mail["Protocol"], mail["Endpoint"]) == ("email", WATCHED["AlarmEmail"])


def test_budget_is_of_the_tag_on_everything_and_tells_of_what_is_spent_and_what_is_foreseen(
    watched: Deployed,
) -> None:
    [(_, of)] = watched.of_type("AWS::Budgets::Budget")
    assert of["Budget"]["BudgetLimit"] == {"Amount": 200, "Unit": "USD"}
    assert of["Budget"]["CostFilters"] == {"TagKeyValue": ["user:Application$iris-oculus"]}
    told = {
        (each["Notification"]["NotificationType"], each["Notification"]["Threshold"])
        for each in of["NotificationsWithSubscribers"]
    }
    assert told == {(kind, percent) for kind in ("ACTUAL", "FORECASTED") for percent in (80, 100)}


# -- working hours ----------------------------------------------------------------------------------------


def test_schedules_switch_the_spot_environment_off_and_on(watched: Deployed) -> None:
    states = {
        name: (schedule["ScheduleExpression"], json.loads(schedule["Target"]["Input"]))
        for name, schedule in watched.of_type("AWS::Scheduler::Schedule")
        if "Refresh" not in name
    }
    spot = {"ComputeEnvironment": "iris-oculus-backend-spot"}
    assert states == {
        "SpotMachinesRest": (WATCHED["WorkingHoursBegin"], {**spot, "State": "DISABLED"}),
        "SpotMachinesWork": (WATCHED["WorkingHoursEnd"], {**spot, "State": "ENABLED"}),
    }


def test_ordinary_jobs_wait_for_the_evening_while_urgent_ones_have_machines_at_full_price(
    watched: Deployed,
) -> None:
    queues = dict(watched.of_type("AWS::Batch::JobQueue"))
    machines = {
        name: [each["ComputeEnvironment"].rpartition("/")[2] for each in of["ComputeEnvironmentOrder"]]
        for name, of in queues.items()
    }
    assert machines["JobQueue"] == ["iris-oculus-backend-spot"]
    assert machines["FastQueue"] == ["iris-oculus-backend-spot", "iris-oculus-backend-on-demand"]
    limits = {each["MaxTimeSeconds"] for each in queues["JobQueue"]["JobStateTimeLimitActions"]}
    assert min(limits) > A_WORKING_DAY_S
    after_s = float(watched.outputs["FallbackAfterSeconds"])
    assert A_WORKING_DAY_S < after_s < min(limits)
    assert f"after_s = {after_s}" in config_text("iris", "eu-south-2", watched.outputs)


def test_stack_without_working_hours_has_full_price_machines_for_everybody(usual: Deployed) -> None:
    assert not {"SpotMachinesRest", "SpotMachinesWork"} & set(usual.wanted)
    assert not {"AWS::Budgets::Budget", "AWS::SNS::Subscription"} & {
        of["Type"] for of in usual.wanted.values()
    }
    queues = dict(usual.of_type("AWS::Batch::JobQueue"))
    assert len(queues["JobQueue"]["ComputeEnvironmentOrder"]) == 2
    assert {each["MaxTimeSeconds"] for each in queues["JobQueue"]["JobStateTimeLimitActions"]} == {3600}


@pytest.mark.peer("ministack")
def test_alarms_and_schedules_are_made_as_the_template_says(
    web: Ministack, watched: Deployed, alarms: dict[str, dict[str, Any]]
) -> None:
    made = web.client("cloudwatch").describe_alarms()["MetricAlarms"]
    wanted = {of["AlarmName"]: of for of in alarms.values()}
    assert {each["AlarmName"] for each in made} == set(wanted)
    for each in made:
        for name in ("Namespace", "MetricName", "Statistic", "Period", "Threshold", "TreatMissingData"):
            assert each[name] == wanted[each["AlarmName"]][name]
    scheduler = web.client("scheduler")
    wanted_schedules = {of["Name"]: of for _, of in watched.of_type("AWS::Scheduler::Schedule")}
    made_schedules = scheduler.list_schedules()["Schedules"]
    assert set(wanted_schedules) - {each["Name"] for each in made_schedules} == {
        "iris-oculus-backend-cpu-refresh"  # of machines that are not deployed there
    }
    for each in made_schedules:
        schedule = scheduler.get_schedule(Name=each["Name"], GroupName=each["GroupName"])
        wanted_one = wanted_schedules[each["Name"]]  # ministack leaves out the time zone
        assert schedule["ScheduleExpression"] == wanted_one["ScheduleExpression"]
