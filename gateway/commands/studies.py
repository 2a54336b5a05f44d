"""The commands about one study: `iris study`, `use`, `forget`."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer

from .actions import All, Meant, act_on
from .console import ConfigOption, JsonOption, client_of, clock, out, plain_errors, print_json
from .corrections import in_short
from .meaning import OfStudies, narrowed_by_studies

WAIT_FOR_FORGOTTEN_S = 20.0
"""How long `iris forget` waits until what runs of a study has ended."""


def study(
    uid: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="Study Instance UID, or the key of a study, job or delivery; a beginning will do",
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one study: where it is, and everything that happened to it."""
    with plain_errors():
        item = client_of(config).study(uid)
    if as_json:
        print_json(item)
        return
    out.print(f"{item['study_uid']}: {item['state']}, received {clock(item['received'])}")
    out.print(f"  {where_in_words(item['whereabouts'])} (since {clock(item['whereabouts']['since'])})")
    out.print(f"  to do: {item['whereabouts']['what_to_do']}")
    for what in ("images", "results"):
        if item[f"{what}_removed"]:
            out.print(f"  {what} of it were removed here at {clock(item[f'{what}_removed'])}")
    if item["viewer_url"]:
        out.print(f"  in the viewer: {item['viewer_url']}")
    out.print(f"  {_steps_in_words(item['steps'], None)}")
    for job in item["jobs"]:
        out.print(f"  job {job['job_key'][:16]}  {job['task']}: {job['state']}  {job['reason']}")
        if job["next_try"]:
            out.print(f"    tried again at {clock(job['next_try'])}; `iris retry {job['job_key'][:16]}`: now")
        if taken := _steps_in_words(item["steps"], job["job_key"]):
            out.print(f"    {taken}")
        for run in job["runs"]:
            out.print(f"    run {run['run']}{_run_in_words(run)}")
            if run["log_stream"]:
                out.print(f"      log stream {run['log_stream']}")
            if run["cost"]:
                out.print(f"      {_cost_in_words(run['cost'])}")
        for flag in job["flags"]:
            out.print(f"    flag {flag['code']}: {flag['sentence']}")
        for warning in job["warnings"]:
            out.print(f"    warning: {warning}")
        if job["files"]:
            out.print(f"    files: {', '.join(job['files'])}")
        for line in _comparison_in_words(job["comparison"]):
            out.print(f"    {line}")
        for one in job["corrections"]:
            said = one["reason"] or in_short(one["structures"])
            out.print(f"    correction {one['key'][:16]}  {clock(one['received'])}: {one['state']}  {said}")
    for line in _deliveries_in_words(item["deliveries"]):
        out.print(f"  {line}")
    for line in _timeline_in_words(item["timeline"]):
        out.print(f"  {line}")


def where_in_words(whereabouts: dict[str, Any]) -> str:
    """Where a study is, and why: "Failed while it was segmented: the memory ran out"."""
    return ": ".join(filter(None, (whereabouts["where"], whereabouts["why"])))


def _comparison_in_words(comparison: dict[str, Any] | None) -> Iterator[str]:
    if comparison is None:
        return
    from converter.results.comparison import NotCompared

    if comparison["prior_date"] is None:
        yield f"not compared with an earlier result: {comparison['why_none']}"
        return
    yield f"compared with {comparison['prior_date']}, {_before(comparison['interval_days'])}"
    for line in comparison["structures"]:
        then, now = ("not found" if ml is None else f"{ml:g} ml" for ml in (line["then_ml"], line["now_ml"]))
        if line["not_compared"]:
            how = f" (not compared: {NotCompared(line['not_compared']).in_words})"
        else:
            percent = "" if line["change_percent"] is None else f", {line['change_percent']:+g} %"
            how = f" ({line['change_ml']:+g} ml{percent})"
        yield f"  {line['structure']}: then {then}, now {now}{how}"


def _deliveries_in_words(deliveries: list[dict[str, Any]]) -> Iterator[str]:
    """A line for those of one output that fare alike: an overlay is a picture a slice."""
    alike = defaultdict[tuple[str, ...], list[str]](list)
    for each in deliveries:
        again = f"; tried again at {clock(each['next_try'])}" if each["next_try"] else ""
        fared = each["state"], each["reason"] + again
        kind = each["job_key"], each["output"], each["destination"], *fared
        alike[kind].append(each["key"])
    for (_, output, destination, state, reason), keys in alike.items():
        several = f", {len(keys)} objects" if len(keys) > 1 else ""
        yield f"delivery {keys[0][:16]}  {output or 'a result'}{several} to {destination}: {state}  {reason}"


def _timeline_in_words(timeline: list[dict[str, Any]]) -> Iterator[str]:
    """A run of lines that say the same, as of each picture of an overlay, is one, at the time of its last."""
    for sentence, lines in groupby(timeline, lambda line: line["sentence"]):
        *others, last = lines
        times = f" ({1 + len(others)} times)" if others else ""
        yield f"{clock(last['at'])}  {sentence}{times}"


def _steps_in_words(steps: list[dict[str, Any]], job_key: str | None) -> str:
    """How long the study, or one of its jobs, was in each step: "received 3.1 s, awaited 5 s"."""
    spent = defaultdict[str, float](float)
    for each in steps:
        if each["job_key"] == job_key:
            ended = datetime.fromisoformat(each["ended"]) if each["ended"] else datetime.now(UTC)
            spent[each["step"]] += (ended - datetime.fromisoformat(each["begun"])).total_seconds()
    return ", ".join(f"{step} {_duration(spent_s)}" for step, spent_s in spent.items())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min {rest_s} s"


def _before(days: int) -> str:
    return f"{days} day{'' if days == 1 else 's'} before" if days else "on the same day"


def _run_in_words(run: dict[str, Any]) -> str:
    where = f" ({run['where']})" if run["where"] else ""
    began = f"started {clock(run['started'])}" if run["started"] else f"submitted {clock(run['submitted'])}"
    ended = f", ended {clock(run['ended'])}: {run['how']}" if run["ended"] else ""
    return f"{where}: {began}{ended}"


def _cost_in_words(cost: dict[str, Any]) -> str:
    """What it cost: "g4dn.xlarge, Spot at 0.2104 USD an hour: 95 s, GPU 62 s, ...; 0.0056 + 0.0200 USD"."""
    said = cost["machine"] or "this machine"
    if cost["usd_per_hour"] is not None:
        price = f"{cost['usd_per_hour']:.4f} USD an hour"
        kind = "Spot at" if cost["is_spot_price"] else "Spot at less than" if cost["is_spot"] else "at"
        said += f", {kind} {price}"
    said += f": {cost['machine_s']:.0f} s"
    said += f", GPU {cost['gpu_s']:.0f} s" if cost["gpu_s"] else ""
    said += f", start and idle before {cost['shared_s']:.0f} s" if cost["shared_s"] is not None else ""
    said += f", attempts that Spot took away {cost['lost_s']:.0f} s" if cost["lost_s"] else ""
    if cost["usd"] is None:
        return said
    shared = f" + {cost['usd_shared']:.4f}" if cost["usd_shared"] is not None else ""
    lost = f" + {cost['usd_lost']:.4f}" if cost["usd_lost"] else ""
    return f"{said}; {cost['usd']:.4f}{shared}{lost} USD"


def _is_volume(volume: str) -> str:
    if re.fullmatch(r"\d+(\.[1-9]\d*)?|[\d.]+(#[1-9]\d*)?", volume) is None:
        raise typer.BadParameter('it is a series number, "2", or volume 3 of that series, "2.3"')
    return volume


def use(
    uid: Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID, or the study's key")],
    volume: Annotated[
        str,
        typer.Option(
            metavar="SERIES_NUMBER[.N]",
            help="The number of its series, and of the volume where there are several",
            callback=_is_volume,
        ),
    ],
    config: ConfigOption = None,
) -> None:
    """Use this volume of a study in the place of the others of its scan, now and later."""
    with plain_errors():
        client = client_of(config)
        series_uid, number = _volume_named(client.study(uid), volume)
        client.act(f"studies/{uid}/use", {"series_uid": series_uid, "number": number})
    out.print("it is used from now on; what is not delivered of the others is given up")


def _volume_named(study: dict[str, Any], volume: str) -> tuple[str, int]:
    """The series and number of a volume by what a person calls it: "2", "2.3", or "SERIES_UID#3".

    Raises
    ------
    StatusError
    """
    from gateway.commands.status_client import StatusError

    uid, _, number = volume.partition("#")
    if any(series["series_uid"] == uid for series in study["series"]):
        return uid, int(number) if number.isdecimal() else 1
    wanted, _, number = volume.partition(".")
    found = [series["series_uid"] for series in study["series"] if str(series["number"]) == wanted]
    if not found:
        numbers = ", ".join(str(series["number"]) for series in study["series"])
        raise StatusError(f"this study has no series {wanted}; it has {numbers or 'none'}")
    if len(found) > 1:
        raise StatusError(f"several series have the number {wanted}; name one by its UID: {', '.join(found)}")
    return found[0], int(number) if number else 1


@narrowed_by_studies
def forget(
    *,
    of: OfStudies,
    uid: Annotated[
        str, typer.Argument(metavar="[STUDY]", help="Study Instance UID, or the study's key")
    ] = "",
    every: All = False,
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> None:
    """Erase a study here, with all that was made of it; a tombstone of keys and times stays."""
    if every or not uid:
        act_on(config, Meant(uid, every, of=of), "forget", "forgotten", yes=yes)
        return
    with plain_errors():
        client = client_of(config)
        item = client.study(uid)
        images, jobs = item["images"], len(item["jobs"])
        out.print(f"{item['study_uid']}: {item['state']}, images: {images}, jobs: {jobs}")
        out.print("What was sent to destinations stays there. This cannot be undone.")
        if not yes and not typer.confirm("Erase it here?"):
            raise typer.Exit(1)
        client.act(f"studies/{item['study_key']}/forget")
        deadline = time.monotonic() + WAIT_FOR_FORGOTTEN_S
        while client.is_known(item["study_key"]):
            if time.monotonic() > deadline:
                out.print("it is forgotten as soon as what runs of it has ended")
                return
            time.sleep(0.2)
    out.print("it is forgotten")
