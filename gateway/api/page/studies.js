// The list of studies.

import { get } from "./api.js";
import { badge, day, make, records, show, time } from "./dom.js";

const STATES = ["receiving", "processing", "failed", "held", "done"];
const PAGE = 50;
const MOST = 500;

let state = "";
let wanted = PAGE;

export async function studies(content, stillHere) {
  const query = new URLSearchParams({ limit: wanted });
  if (state) query.set("state", state);
  const answer = await get(`/api/v1/studies?${query}`);
  if (!stillHere()) return;
  const again = () => studies(content, stillHere);
  show(content,
    make("div", { class: "bar" }, make("h1", {}, "Studies"), filter(again)),
    answer.items.length ? list(answer.items) : make("p", { class: "quiet" }, nothing()),
    more(answer.next_cursor, again));
}

function nothing() {
  return state ? `No study is ${state}.` : "No study has arrived yet. Send one to the gateway's DICOM address.";
}

function filter(again) {
  const choose = (event) => { state = event.target.value; wanted = PAGE; again(); };
  const options = STATES.map((name) => make("option", { value: name, selected: name === state }, name));
  return make("div", { class: "field" },
    make("label", { for: "state" }, "State"),
    make("select", { id: "state", "data-focus": "state", onchange: choose },
      make("option", { value: "" }, "all"), options));
}

function list(items) {
  return records("Studies", ["State", "Patient ID", "Accession", "Study", "Images", "Received", "Jobs"], items.map(row));
}

function row(study) {
  const address = `#/studies/${encodeURIComponent(study.study_key)}`;
  return make("tr", { "data-study": study.study_key },
    make("td", {}, badge(study.state), study.reason ? make("span", { class: "why" }, study.reason) : null),
    make("td", {}, study.patient_id),
    make("td", {}, study.accession_number),
    make("td", {},
      make("a", { href: address, "data-focus": study.study_key }, nameOf(study)),
      make("span", { class: "why" }, day(study.study_date))),
    make("td", { class: "number" }, String(study.images)),
    make("td", {}, time(study.received)),
    make("td", {}, study.jobs.map((job) => make("div", { class: "line" }, `${job.task} `, progress(job), flagged(job)))));
}

// How many doubts there are about a result; the study says which.
function flagged(job) {
  if (!job.flags.length) return null;
  const codes = [...new Set(job.flags.map((flag) => flag.code.replaceAll("_", " ")))].join(", ");
  return [" ", make("span", { class: "badge flag", title: codes }, `check: ${job.flags.length}`)];
}

// Of an image that a person uploaded: chosen by no rule, and without DICOM.
export const isUpload = (job) => job.rule === "upload";

// The cloud knows neither UID nor description: its studies go by the beginning of their keys.
export function nameOf(study) {
  if (study.jobs.some(isUpload)) return "NIfTI upload";
  return study.study_description || (study.study_uid ? "(no description)" : study.study_key.slice(0, 12));
}

export function progress(job) {
  if (job.state !== "running") return badge(job.state);
  const percent = Math.round(job.progress.fraction * 100);
  return make("span", { class: "progress", "data-progress": job.job_key },
    make("progress", { max: 100, value: percent, "aria-label": `Progress of ${job.task}` }),
    make("span", { class: "why" }, `${job.progress.stage || "starting"} ${percent} %`));
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

function more(cursor, again) {
  if (!cursor) return null;
  if (wanted >= MOST) return make("p", { class: "quiet" }, `Only the latest ${MOST} are shown; narrow them by state.`);
  const load = () => { wanted = Math.min(MOST, wanted + PAGE); again(); };
  return make("p", {}, make("button", { type: "button", "data-focus": "more", onclick: load }, "Show older studies"));
}
