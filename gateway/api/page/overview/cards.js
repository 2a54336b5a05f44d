// How everything stands, a card each; what this app does not know has none.

import { addressOf } from "../parts/address.js";
import { badge, make, time } from "../parts/dom.js";
import { bytes, count, duration, rounded } from "../parts/numbers.js";
import { say } from "../parts/words.js";

const FAR_DAYS = 365; // beyond that a number of days says no more than "long"

export function cards(now) {
  return [today, studies, forAPerson, queue, disk, port, workers, mirror, aws, gateway].map((one) => one(now)).filter(Boolean);
}

const card = (title, ...content) => make("section", { class: "card" }, make("h2", {}, title), ...content);
const large = (...what) => make("p", { class: "large" }, ...what);
const quiet = (...what) => make("p", { class: "why" }, ...what);
const lineOf = (what, number, view, query) => make("li", {},
  make("a", { href: addressOf(view, query), "data-focus": `line ${typeof what === "string" ? what : query.state}` }, what, make("strong", {}, count(number))));
const link = (words, view, query = {}) => make("a", { href: addressOf(view, query), "data-focus": `card ${words}` }, words);

function today({ today: came }) {
  if (!came) return null;
  return card(say("Received today"),
    large(link(count(came.studies), "studies", { since: came.since }), " ", make("span", { class: "of" }, came.studies === 1 ? say("study") : say("studies"))),
    quiet(say("{images} images, {size}, since midnight at the site", { images: count(came.instances), size: bytes(came.bytes) })));
}

function studies({ counts }) {
  const lines = Object.entries(counts.studies).map(([state, number]) => lineOf(badge(state), number, "studies", { state }));
  return card(say("Studies"), make("ul", { class: "states" }, lines));
}

function forAPerson({ counts }) {
  const parts = [
    [counts.jobs.failed, say("failed jobs"), "studies", { state: "failed" }],
    [counts.jobs.quarantined, say("held jobs"), "studies", { state: "held" }],
    [counts.quarantined_objects, say("objects put aside"), "quarantine", {}],
    [counts.deliveries.failed, say("failed deliveries"), "destinations", {}],
  ].filter(([number]) => number);
  return card(say("For a person"),
    large(count(counts.waiting_for_a_person)),
    parts.length
      ? make("ul", { class: "states" }, parts.map(([number, words, view, query]) => lineOf(words, number, view, query)))
      : quiet(say("Nothing waits for a person.")));
}

function queue({ queue: line }) {
  return card(say("Queue"),
    large(count(line.waiting), " ", make("span", { class: "of" }, say("waiting"))),
    quiet(say("{n} running", { n: count(line.running) })),
    line.oldest_wait_s ? quiet(say("The first has waited {time} for a machine.", { time: duration(line.oldest_wait_s) })) : null,
    line.oldest_open_study_s ? quiet(say("The oldest open study came {time} ago.", { time: duration(line.oldest_open_study_s) })) : null);
}

function disk({ disk: room }) {
  if (!room) return null;
  const used = room.size_bytes - room.free_bytes;
  return card(say("Disk"),
    large(bytes(room.free_bytes), " ", make("span", { class: "of" }, say("free"))),
    make("meter", {
      min: 0, max: room.size_bytes, value: used, low: 0.8 * room.size_bytes, high: room.size_bytes - 2 * room.reserve_bytes,
      optimum: 0, "aria-label": say("Disk in use"),
    }),
    quiet(room.days_left === null ? say("Nothing came in the last week.") : daysLeft(room)));
}

function daysLeft({ days_left, bytes_a_day, is_kept_free }) {
  const rate = bytes(bytes_a_day);
  if (is_kept_free) return say("{rate} a day; what is done longest is removed for want of room", { rate });
  if (days_left > FAR_DAYS) return say("more than a year at {rate} a day", { rate });
  return say("{n} days left at {rate} a day", { n: rounded(days_left), rate });
}

function port({ associations: at }) {
  if (!at) return null;
  return card(say("DICOM port"),
    large(count(at.open), " ", make("span", { class: "of" }, say("of {n} associations", { n: count(at.limit) }))),
    make("meter", { min: 0, max: at.limit, value: at.open, high: 0.9 * at.limit, optimum: 0, "aria-label": say("Associations in use") }),
    at.turned_away ? quiet(link(say("{n} turned away since the start", { n: count(at.turned_away) }), "quarantine")) : quiet(say("Nobody was turned away.")));
}

function workers({ workers: threads }) {
  if (!threads) return null;
  const troubled = [...new Set(threads.troubles.map(({ name }) => name))];
  return card(say("Workers"),
    large(count(threads.number - troubled.length), " ", make("span", { class: "of" }, say("of {n} without trouble", { n: count(threads.number) }))),
    troubled.length ? quiet(say("In trouble, as said above: {names}", { names: troubled.join(", ") })) : null);
}

function mirror({ mirror: copy }) {
  if (!copy.on) return null;
  return card(say("Mirror"),
    large(copy.lag_s ? duration(copy.lag_s) : say("up to date"), copy.lag_s ? make("span", { class: "of" }, ` ${say("behind")}`) : null),
    copy.waiting ? quiet(say("{n} changes wait", { n: count(copy.waiting) })) : null,
    copy.rebuilding ? quiet(say("Everything is being written anew.")) : null,
    copy.trouble ? quiet(copy.trouble) : null);
}

function aws({ aws: used }) {
  if (!used) return null;
  const parts = [[say("Queue"), used.queue], [say("Bucket"), used.bucket], [say("Table"), used.table], [say("Region"), used.region]];
  return card("AWS",
    make("dl", { class: "pairs" }, parts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    used.troubles.length
      ? make("ul", { class: "plain why" }, used.troubles.map((trouble) => make("li", {}, trouble)))
      : quiet(say("No trouble.")));
}

function gateway({ version, started, at }) {
  return card("IRIS Gateway",
    large(version),
    started ? quiet(say("up for {time}, since ", { time: duration((new Date(at) - new Date(started)) / 1000) }), time(started)) : quiet(say("In the cloud: what the gateways mirror here.")));
}
