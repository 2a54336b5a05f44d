// One study: what was decided, what runs, what was sent, what happened.

import { button } from "./actions.js";
import { get, path } from "./api.js";
import { corrections } from "./corrections.js";
import { deliveries, destinationsFor } from "./deliveries.js";
import { badge, day, make, onTheClock, show, table, time } from "./dom.js";
import { fileLink, picture } from "./files.js";
import { isUpload, nameOf, progress } from "./studies.js";

const RETRIABLE = ["failed", "cancelled"];
const OVER = ["delivered", "cancelled", "superseded"];
const WAITS_FOR = {
  planned: "Waits to be prepared",
  converted: "Waits to be put into its job folder",
  staged: "Waits to be handed to the queue",
  submitted: "Waits at the queue for its turn",
  runnable: "Waits for a machine",
  segmented: "Waits for its results to be made",
  failed: "Waits for a person, who settles what is said above, then retries or cancels it",
  quarantined: "Waits for a person, who looks at what is said above, then releases or cancels it",
};
const HAS_FILES = ["segmented", "encoded", "delivered"];
const pictures = new Map();

export async function study(content, stillHere, key, act) {
  const answer = await get(path("studies", key));
  const names = await destinationsFor(answer);
  if (!stillHere()) return;
  const jobs = answer.jobs.map((job) => jobCard(job, answer, act));
  const hasDicom = !answer.jobs.some(isUpload);
  show(content,
    make("p", {}, make("a", { href: "#/", "data-focus": "back" }, "← All studies")),
    head(answer, act),
    section("Jobs", jobs, "No job was planned."),
    hasDicom ? section("Series", answer.series.map((series) => seriesCard(series, answer, act)), "No series.") : null,
    hasDicom ? section("Deliveries", deliveries(answer, names, act), "Nothing was sent.") : null,
    section("Timeline", timeline(answer), "Nothing happened yet."));
}

function section(title, children, otherwise) {
  const filled = Array.isArray(children) ? children.length : children;
  return make("section", { "aria-label": title },
    make("h2", {}, title),
    filled ? children : make("p", { class: "quiet" }, otherwise));
}

function head(answer, act) {
  const facts = [
    ["Patient ID", answer.patient_id], ["Accession number", answer.accession_number],
    ["Study date", day(answer.study_date)], ["Images", String(answer.images)],
    ["Study Instance UID", answer.jobs.some(isUpload) ? "" : answer.study_uid ?? ""], // of an upload it is ours
  ];
  const complete = answer.state === "receiving"
    ? button("It is complete", path("studies", answer.study_key, "complete"), act, { title: "Do not wait for more images" })
    : null;
  return make("div", { class: "card" },
    make("div", { class: "bar" },
      make("h1", {}, nameOf(answer)), badge(answer.state)),
    answer.reason ? make("p", {}, answer.reason) : null,
    answer.state === "receiving" // why, in words, knows the gateway alone
      ? make("p", { class: "why" }, `Waits until all of its images have arrived${missing(answer)}; its last change: `, time(answer.updated))
      : null,
    answer.images_removed ? make("p", {}, "Images of it were removed here: ", time(answer.images_removed)) : null,
    answer.results_removed ? make("p", {}, "Results of it were removed here: ", time(answer.results_removed)) : null,
    make("dl", { class: "facts" },
      facts.filter(([, value]) => value).map(([name, value]) => fact(name, value)),
      fact("Received", time(answer.received))),
    complete);
}

function missing(answer) {
  const said = answer.timeline.findLast((line) => line.event === "study.pacs_answered")?.detail;
  return said?.answer === "more_there" ? `: the PACS held ${said.missing} more` : "";
}

const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));

function jobCard(job, answer, act) {
  const of = (series) => series.series_uid === job.series_uid;
  const series = answer.series.find(of);
  const source = isUpload(job) ? "the uploaded image" : series ? seriesName(series) : "a series";
  return make("article", { class: "card", "data-job": job.job_key, "data-state": job.state },
    make("div", { class: "bar" },
      make("h3", {}, `${job.task} on ${source}`), progress(job)),
    job.reason ? make("p", {}, job.reason) : null,
    waits(job, answer),
    flags(job),
    comparison(job),
    corrections(job),
    job.warnings.length ? make("ul", {}, job.warnings.map((warning) => make("li", {}, warning))) : null,
    HAS_FILES.includes(job.state) || isHeldResult(job) ? results(job) : null,
    make("p", { class: "why" }, whereabouts(job)),
    job.runs.length ? runs(job) : null,
    make("div", { class: "actions" }, actions(job, answer, act)));
}

function runs(job) {
  const lines = job.runs.map((run) => make("li", { value: run.run },
    run.where === "batch" ? "at AWS Batch, " : run.where === "local" ? "on this machine, " : "",
    ...(run.started ? ["started ", time(run.started)] : ["handed over ", time(run.submitted)]),
    ...(run.ended ? [", ended ", time(run.ended), `: ${run.how}`] : [": goes on"]),
    run.cost ? `; ${costInWords(run.cost)}` : ""));
  return make("details", { "data-keep": `runs ${job.job_key}` },
    make("summary", {}, job.attempts === 1 ? "1 run" : `${job.attempts} runs`), make("ol", { class: "why" }, lines));
}

function costInWords(cost) {
  const kind = cost.is_spot_price ? "Spot at" : cost.is_spot ? "Spot at less than" : "at";
  const money = cost.usd === null ? []
    : [`${cost.usd.toFixed(4)}${cost.usd_shared === null ? "" : ` + ${cost.usd_shared.toFixed(4)}`} USD`];
  return [
    [cost.machine || "this machine",
      ...(cost.usd_per_hour === null ? [] : [`${kind} ${cost.usd_per_hour.toFixed(4)} USD an hour`])].join(", "),
    `held for ${Math.round(cost.machine_s)} s`,
    ...(cost.gpu_s ? [`GPU ${Math.round(cost.gpu_s)} s`] : []),
    ...(cost.shared_s === null ? [] : [`start and idle before ${Math.round(cost.shared_s)} s`]),
    ...money].join("; ");
}

// A person who is to release it looks at it first.
const isHeldResult = (job) => job.state === "quarantined" && job.progress.fraction === 1;

// What is to be known before trusting the result; the cloud knows no sentences.
function flags(job) {
  if (!job.flags.length) return null;
  const words = (flag) => flag.sentence || [flag.structure, flag.number, flag.unit].filter((part) => part !== null).join(" ");
  return make("ul", { class: "flags", "aria-label": `Doubts about ${job.task}` }, job.flags.map((flag) => make("li", {},
    make("span", { class: "badge flag" }, flag.code.replaceAll("_", " ")), " ", words(flag))));
}

const NOT_COMPARED = {
  cut_now: "the scan cuts it off now", cut_then: "the earlier scan cut it off", cut_both: "both scans cut it off",
  not_found_now: "not found now", not_found_then: "not found then",
};

// What changed since the patient's earlier result.
function comparison(job) {
  const compared = job.comparison;
  if (!compared) return null;
  if (!compared.prior_date) return make("p", { class: "why" }, `Not compared with an earlier result: ${compared.why_none}`);
  const number = (value, sign = "") => make("td", { class: "number" },
    value === null ? "" : `${sign && value > 0 ? sign : ""}${value.toFixed(Math.abs(value) < 100 ? 1 : 0)}`);
  const rows = compared.structures.map((one) => make("tr", {}, make("td", {}, one.structure.replaceAll("_", " ")),
    number(one.then_ml), number(one.now_ml),
    one.not_compared ? make("td", { colspan: 2, class: "quiet" }, `not compared: ${NOT_COMPARED[one.not_compared]}`)
      : [number(one.change_ml, "+"), number(one.change_percent, "+")]));
  const days = compared.interval_days;
  const before = days ? `${days} day${days === 1 ? "" : "s"} before` : "on the same day";
  return make("details", { "data-keep": `compared ${job.job_key}` },
    make("summary", {}, `Compared with ${compared.prior_date}, ${before}`),
    table(`Change of ${job.task} since ${compared.prior_date}`,
      ["Structure", "Then, ml", "Now, ml", "Change, ml", "Change, %"], rows));
}

// For what it waits, since when, and when it is tried again.
function waits(job, answer) {
  const goesSomewhere = answer.deliveries.some((one) => one.job_key === job.job_key && one.state === "pending");
  const what = job.state === "encoded" && goesSomewhere ? "Waits for its deliveries, below" : WAITS_FOR[job.state];
  if (!what) return null;
  return make("p", { class: "why" }, `${what}, since `, time(job.waiting_since ?? job.updated),
    job.next_try ? [". It is tried again: ", time(job.next_try)] : null);
}

function actions(job, answer, act) {
  const base = (verb) => path("jobs", job.job_key, verb);
  const refused = answer.deliveries.some((one) => one.job_key === job.job_key && one.state === "failed");
  return [
    RETRIABLE.includes(job.state) || refused ? button("Retry", base("retry"), act) : null,
    job.next_try ? button("Try now", base("retry"), act, { title: "Do not wait any longer for the next try" }) : null,
    job.state === "quarantined" ? button("Release", path("quarantine", job.job_key, "release"), act) : null,
    OVER.includes(job.state) ? null : button("Cancel", base("cancel"), act),
  ];
}

function whereabouts(job) {
  return [
    `${isUpload(job) ? "asked for by hand" : `rule ${job.rule}`}, engine ${job.engine}, runs begun: ${job.attempts}`,
    job.lane === "fallback" ? "fallback queue" : "",
    job.run_of ? `run of the gateway ${job.run_of}` : "",
    job.queue_id ? `at the queue as ${job.queue_id}` : "",
  ].filter(Boolean).join(", ");
}

function results(job) {
  const at = (name) => path("jobs", job.job_key, name);
  const links = make("p", {},
    fileLink("Label map (NIfTI)", at("labels.nii.gz"), "labels.nii.gz", { download: "labels.nii.gz" }), " · ",
    fileLink("Statistics", at("statistics.json"), "statistics.json"));
  return make("div", {}, preview(job, at("preview.png")), links);
}

// The same element again while the job stays as it is: it does not flicker, and is not fetched anew.
function preview(job, address) {
  const version = `${job.job_key} ${job.attempts} ${job.state}`;
  if (!pictures.has(version)) {
    const attributes = { class: "preview", alt: `Preview of ${job.task}` };
    pictures.set(version, picture(address, attributes, () => pictures.delete(version)));
  }
  return pictures.get(version);
}

function seriesName(series) {
  return series.number === null ? "a series without number" : `series ${series.number}`;
}

const images = (number) => (number === 1 ? "1 image" : `${number} images`);

function seriesCard(series, answer, act) {
  const title = [seriesName(series), series.description, series.modality].filter(Boolean).join(" · ");
  return make("article", { class: "card" },
    make("h3", {}, title),
    make("p", { class: "why" }, images(series.images)),
    series.volumes.length
      ? series.volumes.map((volume) => decision(volume, series, answer, act))
      : make("p", { class: "quiet" }, "Decided when the study is complete."));
}

function decision(volume, series, answer, act) {
  const keep = `${series.series_uid} ${volume.number}`;
  const prefix = series.volumes.length > 1 ? `Volume ${volume.number} (${images(volume.images)}): ` : "";
  return make("div", { class: volume.job_key ? "taken" : "left" },
    make("p", {}, prefix + volume.why),
    volume.findings.length
      ? make("ul", {}, volume.findings.map((finding) => make("li", {}, finding.sentence)))
      : null,
    volume.ranking.length
      ? make("details", { "data-keep": keep }, make("summary", {}, "Ranking"),
        make("ol", {}, volume.ranking.map((line) => make("li", {}, line))))
      : null,
    volume.can_be_used && !volume.job_key && !answer.images_removed ? use(volume, series, answer, act) : null);
}

function use(volume, series, answer, act) {
  const address = path("studies", answer.study_key, "use");
  return make("div", { class: "actions" }, button("Use this one", address, act, {
    content: { series_uid: series.series_uid, number: volume.number },
    title: "Segment it in the place of the other volumes of its scan; what is not delivered of those is given up",
    said: "it takes the place of the others of its scan.",
    focus: `${address} ${series.series_uid} ${volume.number}`,
  }));
}

function timeline(answer) {
  if (!answer.timeline.length) return null;
  const left = answer.timeline_left_out
    ? make("p", { class: "quiet" }, `${answer.timeline_left_out} older lines are not shown.`) : null;
  const lines = runsOfTheSame(answer.timeline).map(({ line, detail, times }) => make("li", {},
    time(line.at), " ", make("strong", {}, line.event), times > 1 ? ` (${times} times) ` : " ",
    make("span", { class: "why" }, detail)));
  return make("div", {}, left, make("ol", { class: "timeline" }, lines));
}

// Each picture of an overlay is planned and sent: such a run of lines is one, the time its last.
function runsOfTheSame(timeline) {
  const found = [];
  for (const line of timeline) {
    const detail = Object.entries(line.detail).filter(([, value]) => value !== null && text(value) !== "")
      .map(([name, value]) => `${name}: ${text(value)}`).join(", ");
    const last = found.at(-1);
    if (last && last.line.event === line.event && last.line.job_key === line.job_key && last.detail === detail) {
      Object.assign(last, { line, times: last.times + 1 });
    } else found.push({ line, detail, times: 1 });
  }
  return found;
}

// What a line of the timeline says of one thing, without brackets; a time as all times of the page are.
function text(value) {
  if (Array.isArray(value)) return value.map(text).join("; ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (value && typeof value === "object") return Object.entries(value).map(([name, each]) => `${name} ${text(each)}`).join(" ");
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? onTheClock(value) : String(value);
}
