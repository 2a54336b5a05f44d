"""What the gateway does with the phantom: the stations of its jobs and deliveries."""

from datetime import datetime
from typing import Final

from .at_gateway import Study
from .scene import Finding, Scene
from .stations import StationFailed, Verdict

_HAS_LABELS: Final = ("segmented", "encoded", "delivered")
_STUCK: Final = ("failed", "quarantined")
_ARRIVED: Final = ("sent", "committed")
TRIES: Final = 2
"""A delivery that was put off so often is not waited for any longer."""


def chosen(scene: Scene) -> Finding:
    """Rules take the phantom's volumes."""
    scene.say("waiting for the study to be complete")
    scene.until(lambda: (scene.look_at_study() or {}).get("state", "receiving") != "receiving" or None)
    if scene.study["state"] == "receiving":
        reason = scene.study["reason"] or "it does not say what it waits for"
        raise StationFailed(
            f"the study is not complete after {scene.limit_s:g} s: {reason}",
            "a longer --wait-s, a shorter study.quiet_s, or study.find",
        )
    jobs, why = scene.jobs(), _why_not_chosen(scene.study)
    if not jobs:
        raise StationFailed(
            f"no rule takes the phantom: {scene.study['reason']}" + (f" ({why})" if why else ""),
            "let a [[rule]] take it, or make the phantom what your rules look for with --set KEYWORD=VALUE",
        )
    series = {job["series_uid"] for job in jobs}
    names = [each.pose.name for each in scene.phantom.series if each.series_uid in series]
    rules = ", ".join(sorted({f"rule {job['rule']}, task {job['task']}" for job in jobs}))
    text = f"{', '.join(names)}: {rules}"
    at = _last(scene.study, "study.completed")
    if len(names) < len(scene.phantom.series):
        return Finding(f"only {text} ({why})", "the other positions are not proven", Verdict.NOTED, at)
    return Finding(text, at=at)


def segmented(scene: Scene) -> Finding:
    """The engine has labels of each."""
    scene.say("waiting for the engine")

    def all_have_labels() -> bool | None:
        scene.look_at_study()
        jobs = scene.jobs()
        if stuck := [job for job in jobs if job["state"] in _STUCK]:
            raise _job_stuck(stuck[0])
        return all(job["state"] in _HAS_LABELS for job in jobs) or None

    if scene.until(all_have_labels) is None:
        open_ones = [job for job in scene.jobs() if job["state"] not in _HAS_LABELS]
        raise StationFailed(
            f"{len(open_ones)} jobs have not got on for {scene.limit_s:.0f} s, the first is"
            f" {open_ones[0]['state']}: {open_ones[0]['reason'] or 'it does not say why'}",
            "look at it on the page; an engine that is slower needs a longer --wait-s",
        )
    jobs = scene.jobs()
    engines = ", ".join(sorted({str(job["engine"]) for job in jobs}))
    scene.report.facts["Engine"] = engines
    return Finding(f"{len(jobs)} label maps by {engines}", at=_last(scene.study, "job.segmented"))


def delivered(scene: Scene) -> Finding:
    """Each result object has been taken by the PACS."""
    peer = scene.pacs.peer
    names = {each.name for each in scene.gateway.destinations_at(peer.host, peer.port)}
    scene.say("waiting for the results to be sent")

    def here() -> list[Study]:
        return [d for d in scene.study["deliveries"] if not names or d["destination"] in names]

    def all_arrived() -> bool | None:
        scene.look_at_study()
        if stuck := [job for job in scene.jobs() if job["state"] in _STUCK]:
            raise _job_stuck(stuck[0])
        for each in here():
            if each["state"] == "failed" or (each["state"] == "pending" and each["attempts"] >= TRIES):
                raise _delivery_stuck(each)
        is_over = all(job["state"] == "delivered" for job in scene.jobs())
        has_all = all(job["state"] in ("encoded", "delivered") for job in scene.jobs())
        return is_over or (has_all and all(each["state"] in _ARRIVED for each in here())) or None

    if scene.until(all_arrived) is None:
        waiting = [each for each in here() if each["state"] not in _ARRIVED]
        raise _delivery_stuck(waiting[0]) if waiting else _job_stuck(scene.jobs()[0])
    arrived = [each for each in here() if each["state"] in _ARRIVED]
    if not arrived:
        return Finding(
            "nothing was sent: the engine found nothing in the phantom, or its results go elsewhere",
            "the way back is proven by this test's own objects only (forms)",
            Verdict.NOTED,
        )
    return Finding(f"{len(arrived)} objects taken", at=_last(scene.study, "delivery.sent"))


def _why_not_chosen(study: Study) -> str:
    """Why volumes were not taken, each reason once."""
    why = [
        volume["why"]
        for series in study.get("series", [])
        for volume in series["volumes"]
        if not volume["job_key"]
    ]
    return "; ".join(dict.fromkeys(why))


def _job_stuck(job: Study) -> StationFailed:
    finding, _, fix = str(job["reason"] or "it does not say why").partition("; ")
    if job["state"] == "quarantined":
        flags = "; ".join(flag["sentence"] for flag in job["flags"])
        return StationFailed(
            f"the gateway holds a result back: {finding}" + (f" ({flags})" if flags else ""),
            fix or f"`iris release {job['job_key'][:12]}`, or see the rule's hold_flags",
        )
    return StationFailed(f"a job is {job['state']}: {finding}", fix or "look at it on the page")


def _delivery_stuck(delivery: Study) -> StationFailed:
    finding, _, fix = str(delivery["reason"] or "it has not been tried").partition("; ")
    return StationFailed(
        f"{delivery['output'] or 'a result'} to {delivery['destination']} is {delivery['state']}: {finding}",
        fix or "look at it on the page",
    )


def _last(study: Study, *events: str) -> datetime | None:
    """When the last of these events was; None where there was none."""
    times = [line["at"] for line in study["timeline"] if line["event"] in events]
    return datetime.fromisoformat(max(times)) if times else None
