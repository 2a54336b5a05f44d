// One study in the list.

import { addressOf } from "../parts/address.js";
import { badge, day, make, onTheClock } from "../parts/dom.js";
import { locale, named, say } from "../parts/words.js";

export const COLUMNS = [
  { name: "state", title: say("State"), sort: "state" },
  { name: "patient", title: say("Patient ID"), sort: "patient_id" },
  { name: "accession", title: say("Accession"), sort: "accession_number" },
  { name: "study", title: say("Study") },
  { name: "images", title: say("Images"), sort: "images" },
  { name: "doubts", title: say("Flags") },
  { name: "delivered", title: say("Delivered") },
  { name: "last", title: say("Last step"), sort: "updated" },
  { name: "received", title: say("Received"), sort: "received" },
];

export function row(study, chosen) {
  const cells = [
    standing(study), study.patient_id, study.accession_number, called(study), String(study.images), doubts(study),
    delivered(study), lastStep(study.last_step), brief(study.received),
  ];
  return make("tr", { "data-study": study.study_key, class: study.state },
    chosen ? make("td", { class: "choice" }, chosen.of(study, nameOf(study))) : null,
    cells.map((cell, at) => make("td", { class: COLUMNS[at].name, "data-head": COLUMNS[at].title }, cell)));
}

// What of it runs is shown with its progress; why it stands where it does, beneath.
function standing(study) {
  const running = study.jobs.filter((job) => job.state === "running");
  const { where, why } = study.whereabouts;
  return [badge(study.state), " ", make("span", { class: "where" }, where),
    ...running.map((job) => make("div", { class: "line" }, progress(job))),
    why && why !== where ? make("span", { class: "why", title: why, lang: "en" }, why) : null];
}

function called(study) {
  const beside = [day(study.study_date), study.modalities.join(", "), [...new Set(study.jobs.map((job) => job.task))].join(", ")];
  return [make("a", { href: addressOf("studies", {}, study.study_key), "data-focus": study.study_key }, nameOf(study)),
    make("span", { class: "why" }, beside.filter(Boolean).join(" · "))];
}

// How many doubts there are about its results; the study says which.
function doubts(study) {
  const number = study.jobs.reduce((sum, job) => sum + job.flags.length, 0);
  if (!number) return null;
  const codes = study.flags.map(named).join(", ");
  return [make("span", { class: "badge flag", title: codes }, say("check: {n}", { n: number })), make("span", { class: "why", lang: "en" }, codes)];
}

function delivered({ destinations, destinations_reached: reached }) {
  if (!destinations) return null;
  return make("span", { class: reached === destinations ? "all" : "some" }, say("{n} of {m}", { n: reached, m: destinations }));
}

function lastStep(step) {
  if (!step) return null;
  return [make("span", { class: "step", title: step.sentence }, step.sentence), make("span", { class: "quiet" }, brief(step.at))];
}

const minutes = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const days = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });

// To the minute, of another year to the day; a pointer resting on it reads all.
function brief(at) {
  const then = new Date(at);
  const format = then.getFullYear() === new Date().getFullYear() ? minutes : days;
  return make("time", { datetime: at, title: onTheClock(at) }, format.format(then));
}

// Of an image that a person uploaded: chosen by no rule, and without DICOM.
export const isUpload = (job) => job.rule === "upload";

// The cloud knows neither UID nor description: its studies go by the beginning of their keys.
export function nameOf(study) {
  if (study.jobs.some(isUpload)) return say("NIfTI upload");
  return study.study_description || (study.study_uid ? say("(no description)") : study.study_key.slice(0, 12));
}

export function progress(job) {
  if (job.state !== "running") return badge(job.state);
  const percent = Math.round(job.progress.fraction * 100);
  return make("span", { class: "progress", "data-progress": job.job_key },
    make("progress", { max: 100, value: percent, "aria-label": say("Progress of {task}", { task: job.task }) }),
    make("span", { class: "why" }, `${job.progress.stage || say("starting")} ${percent} %`));
}

// News of a running job changes its bar in place; false where none is shown.
export function advance(news) {
  const places = document.querySelectorAll(`[data-progress="${CSS.escape(news.job_key)}"]`);
  for (const place of places) {
    const percent = Math.round(news.fraction * 100);
    place.querySelector("progress").value = percent;
    place.querySelector(".why").textContent = `${news.stage} ${percent} %`;
  }
  return places.length > 0;
}
