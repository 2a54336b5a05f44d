// Chooses the view by the address, keeps it fresh by the gateway's events (in the cloud, which has none, by
// asking again), and does what buttons ask.

import { addressOf, entitle, place } from "./parts/address.js";
import { get, post, postJson } from "./parts/api.js";
import { destinations } from "./destinations/destinations.js";
import { make, show } from "./parts/dom.js";
import { released } from "./parts/pressed.js";
import { overview } from "./overview/overview.js";
import { quarantine } from "./quarantine/quarantine.js";
import { isAtGateway, isOn, leave, trouble } from "./sign-in/sign-in.js";
import { showWho } from "./access/who.js";
import { access } from "./access/access.js";
import { advance, studies } from "./studies/studies.js";
import { study } from "./study/study.js";
import { upload } from "./upload/upload.js";
import { LANGUAGES, language, named, say, sayWhatStandsThere, speak } from "./parts/words.js";

const GATHER_MS = 200; // several events at once make one refresh
const GATHER_FIGURES_MS = 2000; // nobody reads figures faster
const POLL_MS = 10000; // a mirror has progress every 5 s at most
const EVENTS = "/api/v1/events";
const LOOK_MS = 30000; // the gateway's own readiness tells no events

const content = document.getElementById("content");
const link = document.getElementById("link");
const said = document.getElementById("said");
let shown = 0; // which showing is the present one
let drawn = ""; // of which address, and by what it was told
let waiting = null;
let loading = 0;

// Every view by its name in the address: how it is drawn, what the tab is called, and of which news it is drawn
// anew (of all, where nothing is said), and how many of those make one. A view is given:
//   content      the element that it fills
//   isDue(...told)  whether it is still the one to fill it, and is told anything else than what it shows, where told is
//                all that it shows; to be waited for before it draws: nothing changes while something is pressed
//   key, query   of the address: `#/studies/KEY`, and a URLSearchParams of what stands behind the question mark
//   change(query, { isStep })  puts other parameters into the address and draws the view by them; a step is taken
//                back by the browser's back button, as a chosen filter is, and a letter of a search box is not
//   again()      draws the view anew
//   act(address, label, asked) asks the API for something (parts/actions.js)
const VIEWS = {
  overview: { draw: overview, title: () => say("Overview"), gatherMs: GATHER_FIGURES_MS },
  studies: { draw: studies, title: () => say("Studies") },
  quarantine: { draw: quarantine, title: () => say("Quarantine"), hears: ["quarantine", "job", "reload"] },
  destinations: { draw: destinations, title: () => say("Destinations") },
  upload: { draw: upload, title: () => say("Upload") },
  access: { draw: access, title: () => say("Who may ask"), hears: [] },
};
const STUDY = { draw: study, title: () => say("Study") }; // it calls the tab by its own name once that is known

const viewOf = ({ name, key }) => (name === "studies" && key ? STUDY : VIEWS[name] ?? VIEWS.overview);

async function refresh() {
  const mine = ++shown;
  const here = place();
  const isDue = async (...told) => {
    await released();
    if (mine !== shown) return false;
    const before = drawn;
    drawn = told.length ? JSON.stringify([location.hash, told]) : "";
    return !drawn || drawn !== before;
  };
  loading += 1;
  try {
    await viewOf(here).draw(content, { isDue, key: here.key, query: here.query, change, again: refresh, act });
  } catch (error) {
    if (await isDue()) show(content, make("p", { class: "notice bad", role: "alert" }, error.message));
  } finally {
    loading -= 1;
  }
}

function change(query, { isStep = false } = {}) {
  const { name, key } = place();
  history[isStep ? "pushState" : "replaceState"](null, "", addressOf(name, query, key));
  return refresh();
}

function soon() {
  waiting ??= setTimeout(() => { waiting = null; refresh(); }, viewOf(place()).gatherMs ?? GATHER_MS);
}

async function act(address, label, { content, said: done } = {}) {
  try {
    const outcome = await (content ? postJson(address, content) : post(address));
    const how = typeof done === "function" ? done(outcome) : done;
    const what = how ?? say("{what} is now: {state}.", { what: named(outcome.kind), state: named(outcome.state) });
    said.textContent = `${label}: ${what}`;
  } catch (error) {
    said.textContent = `${label}: ${error.message}`;
  }
  refresh();
}

function navigate() {
  const here = place();
  entitle(viewOf(here).title());
  document.body.dataset.view = here.name;
  for (const item of document.querySelectorAll("nav a[data-view]")) {
    if (viewOf(here) === VIEWS[item.dataset.view]) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  said.textContent = "";
  return refresh();
}

function hear(message) {
  const news = JSON.parse(message.data);
  const here = place();
  if (news.kind === "progress" && advance(news)) {
    if (loading) soon(); // what is on its way may be older than this news
  } else if (!here.key || news.study_key === here.key || news.kind === "reload") {
    if (viewOf(here).hears?.includes(news.kind) ?? true) soon();
  }
}

function listen() {
  const source = new EventSource(EVENTS);
  source.onopen = () => { tell("live", say("Live")); refresh(); look(); lookAtMirror(); };
  source.onmessage = hear;
  source.onerror = async () => {
    const isOver = source.readyState === EventSource.CLOSED;
    const status = isOver ? await statusOfStream() : 0;
    if (status === 501) { leaveOutGateways(); poll(); return; }
    if (status === 401) { location.assign("/"); return; } // the session is over
    tell("lost", say("Connection lost, trying again…"));
    if (isOver) setTimeout(listen, 5000);
  };
}

// An EventSource does not say how it was answered.
async function statusOfStream() {
  const asked = new AbortController();
  try {
    return (await fetch(EVENTS, { credentials: "same-origin", signal: asked.signal })).status;
  } catch {
    return 0;
  } finally {
    asked.abort();
  }
}

function leaveOutGateways() {
  for (const view of ["quarantine", "destinations"]) { // known to the gateways alone
    document.querySelector(`nav a[data-view="${view}"]`).remove();
  }
}

function poll() {
  tell("live", say("Looks again every {s} s", { s: POLL_MS / 1000 }));
  look();
  setInterval(() => { if (!document.hidden) refresh(); }, POLL_MS);
}

function tell(state, text) {
  link.className = `link ${state}`;
  link.textContent = text;
}

async function look() {
  const place = document.getElementById("notices");
  try {
    const now = await get("/readyz");
    const notice = (kind) => (sentence) => make("li", { class: `notice ${kind}` }, sentence);
    show(place, ...now.reasons.map(notice("bad")), ...now.degraded.map(notice("warn")));
  } catch {
    show(place, make("li", { class: "notice bad" }, say("The gateway does not answer.")));
  }
}

async function lookAtMirror() {
  try {
    const mirror = await get("/api/v1/mirror");
    const late = { n: mirror.waiting, s: Math.round(mirror.lag_s) };
    const text = mirror.lag_s ? say("Mirror: {n} changes wait, the oldest for {s} s.", late) : say("Mirror: up to date.");
    document.getElementById("mirror").textContent = mirror.on ? text : "";
  } catch { /* the notices say it */ }
}

function offerLanguages() {
  const choice = document.getElementById("language");
  const offered = Object.entries(LANGUAGES).map(([tag, name]) => make("option", { value: tag, lang: tag, selected: tag === language }, name));
  choice.replaceChildren(...offered);
  choice.addEventListener("change", () => speak(choice.value));
}

function begin() {
  window.addEventListener("hashchange", () => navigate().then(() => content.focus({ preventScroll: true })));
  setInterval(look, LOOK_MS);
  setInterval(() => { if (viewOf(place()) === VIEWS.overview && !document.hidden) refresh(); }, LOOK_MS);
  setInterval(lookAtMirror, LOOK_MS);
  navigate();
  showWho(document.getElementById("who"));
  if (!isOn()) { listen(); return; }
  if (!isAtGateway()) leaveOutGateways();
  poll(); // an EventSource cannot send a token, and the cloud has no stream
}

function askToSignIn() {
  tell("lost", say("Not signed in"));
  show(content, make("p", { class: "notice bad", role: "alert" }, trouble),
    make("p", {}, make("button", { type: "button", onclick: leave }, say("Sign in again"))));
}

sayWhatStandsThere();
offerLanguages();
if (trouble) askToSignIn();
else begin();
