// What stands first: where the study is, why, and what to do about it, with the buttons that do it.

import { button } from "../parts/actions.js";
import { path } from "../parts/api.js";
import { badge, day, english, make, time } from "../parts/dom.js";
import { viewerLink } from "../parts/viewer.js";
import { say } from "../parts/words.js";
import { isUpload, nameOf, progress } from "../studies/studies.js";
import { jobButtons } from "./job_buttons.js";

const STILL = ["nothing_to_do", "cancelled", "superseded", "not_sent", "nothing_found", "no_destination"];

export function headline(answer, act) {
  const told = answer.whereabouts;
  const job = answer.jobs.find((one) => one.job_key === told.job_key);
  return make("div", { class: `card headline ${tone(answer)}` },
    make("div", { class: "bar" }, make("h1", {}, nameOf(answer)), badge(answer.state)),
    make("p", { class: "where" }, told.where, job?.state === "running" ? [" ", progress(job)] : null),
    make("p", { class: "why" }, say("since "), time(told.since)),
    told.why ? make("p", { class: "because" }, english(told.why)) : null,
    answer.state === "receiving" ? missing(answer) : null,
    make("p", { class: "to-do" }, make("strong", {}, say("What to do:")), " ", told.what_to_do,
      told.next_try ? [" ", say("Tried again:"), " ", time(told.next_try)] : null),
    make("div", { class: "actions" }, ways(answer, job, act)),
    facts(answer));
}

// What the PACS said last of what it holds.
function missing(answer) {
  const said = answer.timeline.findLast((line) => line.event === "study.pacs_answered")?.detail;
  if (said?.answer !== "more_there") return null;
  return make("p", { class: "because" }, said.missing === 1 ? say("The PACS held 1 image more.") : say("The PACS held {n} images more.", { n: said.missing }));
}

// By whom it is waited for, as a colour; the words beside it say the same.
function tone(answer) {
  const { kind, waits_for: waitsFor } = answer.whereabouts;
  if (answer.state === "failed") return "bad";
  if (waitsFor === "person" || kind === "delivered_with_doubts") return "warn";
  if (waitsFor === "nobody") return STILL.includes(kind) ? "still" : "ok";
  return "work";
}

function ways(answer, job, act) {
  const complete = answer.state === "receiving"
    ? button(say("It is complete"), path("studies", answer.study_key, "complete"), act, {
      title: say("Do not wait for more images"),
      question: say("This says that all of the study is here, {n} images: nothing more is waited for. What comes later all the same is looked at anew.", { n: answer.images }),
    }) : null;
  return [complete, ...(job ? jobButtons(job, answer, act) : []), viewerLink(answer)];
}

function facts(answer) {
  const uid = answer.jobs.some(isUpload) || !answer.study_uid ? "" : make("code", {}, answer.study_uid); // of an upload it is ours
  const said = [
    [say("Patient ID"), answer.patient_id], [say("Accession number"), answer.accession_number],
    [say("Study date"), day(answer.study_date)], [say("Images"), String(answer.images)],
    [say("Received"), time(answer.received)],
    [say("Images removed here"), answer.images_removed && time(answer.images_removed)],
    [say("Results removed here"), answer.results_removed && time(answer.results_removed)],
    [say("Study key"), make("code", {}, answer.study_key.slice(0, 16))],
    [say("Study Instance UID"), uid],
  ];
  return make("dl", { class: "facts" }, said.filter(([, value]) => value)
    .map(([name, value]) => make("div", { class: value === uid ? "wide" : null }, make("dt", {}, name), make("dd", {}, value))));
}
