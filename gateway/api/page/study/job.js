// One job: a task on a volume. What it found stands beside what is to be known before trusting it.

import { english, make, time } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { isUpload, progress } from "../studies/studies.js";
import { comparison } from "./comparison.js";
import { corrections } from "./corrections.js";
import { jobButtons } from "./job_buttons.js";
import { result } from "./result.js";
import { runs } from "./runs.js";
import { seriesName } from "./series.js";

export function jobCard(job, answer, act, further) {
  const { whereabouts } = answer;
  return make("article", { class: "card", "data-job": job.job_key, "data-state": job.state },
    make("div", { class: "bar" },
      make("h3", {}, say("{task} on {source}", { task: job.task, source: sourceOf(job, answer) })), progress(job)),
    job.reason && job.reason !== whereabouts.why ? make("p", {}, english(job.reason)) : null,
    waits(job),
    flags(job),
    result(job),
    comparison(job),
    corrections(job),
    job.warnings.length ? make("ul", {}, job.warnings.map((warning) => make("li", {}, warning))) : null,
    runs(job),
    make("p", { class: "why" }, origin(job)),
    // of the one that the study is told of they stand at the top
    job.job_key === whereabouts.job_key ? null : make("div", { class: "actions" }, jobButtons(job, answer, act)),
    further);
}

function sourceOf(job, answer) {
  if (isUpload(job)) return say("the uploaded image");
  const series = answer.series.find((one) => one.series_uid === job.series_uid);
  return series ? seriesName(series) : say("a series");
}

function waits(job) {
  if (!job.waiting_since && !job.next_try) return null;
  return make("p", { class: "why" },
    job.waiting_since ? [say("Waits since"), " ", time(job.waiting_since), ". "] : null,
    job.next_try ? [say("Tried again:"), " ", time(job.next_try)] : null);
}

// The cloud knows no sentences.
function flags(job) {
  if (!job.flags.length) return null;
  const words = (flag) => flag.sentence || [flag.structure, flag.number, flag.unit].filter((part) => part !== null).join(" ");
  return make("ul", { class: "flags", "aria-label": say("Doubts about {task}", { task: job.task }) },
    job.flags.map((flag) => make("li", {}, make("span", { class: "badge flag" }, english(flag.code.replaceAll("_", " "))), " ", english(words(flag)))));
}

function origin(job) {
  return [
    isUpload(job) ? say("asked for by hand") : say("rule {rule}", { rule: job.rule }),
    say("engine {engine}", { engine: job.engine }),
    job.priority ? say("priority {priority}", { priority: job.priority }) : "",
    job.lane === "fallback" ? say("fallback queue") : "",
    job.region ? say("region {region}", { region: job.region }) : "",
    job.run_of ? say("run of the gateway {name}", { name: job.run_of }) : "",
    job.queue_id ? say("at the queue as {id}", { id: job.queue_id }) : "",
    say("job {key}", { key: job.job_key.slice(0, 16) }),
  ].filter(Boolean).join(", ");
}
