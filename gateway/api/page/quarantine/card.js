// One thing that waits: what happened, what to do about it, and how that is done.

import { button } from "../parts/actions.js";
import { path } from "../parts/api.js";
import { english, make, time } from "../parts/dom.js";
import { fileLink } from "../parts/files.js";
import { may } from "../parts/me.js";
import { say } from "../parts/words.js";
import { header } from "./header.js";

export function card(one, act) {
  const isJob = one.kind === "job";
  return make("article", { class: "card", "data-key": one.key },
    make("h2", {}, isJob ? say("Held: {task}", { task: one.task }) : one.what),
    make("p", { class: "badges" }, make("span", { class: `badge ${one.dismissed ? "cancelled" : "held"}` }, english(one.reason.replaceAll("_", " ")))),
    make("p", {}, english(sentence(one.sentence))),
    one.dismissed ? dismissed(one) : make("p", { class: "to-do" }, make("strong", {}, say("What to do: ")), one.to_do),
    make("dl", { class: "facts" }, ...facts(one)),
    make("div", { class: "actions" }, one.dismissed ? null : release(one, act), one.dismissed ? null : end(one, act),
      !isJob && may("admin") ? fileLink(say("Save the object"), path("quarantine", one.key, "object"), `${one.key.slice(0, 16)}.dcm`, { download: `${one.key.slice(0, 16)}.dcm`, class: "saves" }) : null),
    !isJob && may("admin") ? header(one) : null);
}

// As a sentence; what the gateway says begins small, and has no full stop.
function sentence(text) {
  const begun = `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function dismissed(one) {
  return make("p", { class: "to-do" }, say("Dismissed by {name}: ", { name: one.dismissed_by || say("somebody") }), time(one.dismissed));
}

function facts(one) {
  const study = one.study_key
    ? make("a", { href: `#/studies/${encodeURIComponent(one.study_key)}`, "data-focus": `study ${one.key}` }, one.study_uid ?? say("show"))
    : one.study_uid && `${one.study_uid} (${say("nothing of it is here")})`;
  const came = one.times > 1 ? [time(one.first), say(", {n} times until ", { n: one.times }), time(one.last)] : [time(one.first)];
  return [
    fact(one.kind === "job" ? say("Held since") : say("Came"), ...came),
    one.sender ? fact(say("From"), one.sender) : null,
    study ? fact(say("Study"), study) : null,
  ];
}

const fact = (name, ...what) => make("div", {}, make("dt", {}, name), make("dd", {}, ...what));

function release(one, act) {
  if (!one.releasable) return null;
  return button(say("Release"), path("quarantine", one.key, "release"), act, {
    question: one.kind === "job"
      ? say("This lets the job go on as it is: what it makes is sent to where its rule says.")
      : say("This takes the object in as what it says itself, whatever was said of it when it came; its study is then looked at anew."),
  });
}

function end(one, act) {
  if (one.kind === "job") {
    return button(say("Cancel"), path("jobs", one.key, "cancel"), act, {
      question: say("This ends the job: nothing of it is sent. “Retry” in its study takes it up again."),
    });
  }
  return button(say("Dismiss"), path("quarantine", one.key, "dismiss"), act, {
    question: say("The object is settled then: nobody is asked about it any more. It stays on the disk until it is old, under Dismissed."),
  });
}
