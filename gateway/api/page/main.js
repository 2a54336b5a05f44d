// Chooses the view by the address, keeps it fresh by the gateway's events (in the cloud, which has none, by
// asking again), and does what buttons ask.

import { get, post, postJson } from "./api.js";
import { destinations } from "./destinations.js";
import { make, show } from "./dom.js";
import { quarantine } from "./quarantine.js";
import { isOn, leave, signOut, trouble, who } from "./sign-in.js";
import { advance, studies } from "./studies.js";
import { study } from "./study.js";
import { upload } from "./upload.js";

const GATHER_MS = 200; // several events at once make one refresh
const POLL_MS = 10000; // a mirror has progress every 5 s at most
const EVENTS = "/api/v1/events";
const LOOK_MS = 30000; // the gateway's own readiness tells no events

const content = document.getElementById("content");
const link = document.getElementById("link");
const said = document.getElementById("said");
let shown = 0; // which showing is the present one
let waiting = null;
let loading = 0;

function view() {
  const [, name = "", key = ""] = location.hash.split("/");
  return { name: name || "studies", key: decodeURIComponent(key) };
}

async function refresh() {
  const mine = ++shown;
  const stillHere = () => mine === shown;
  const { name, key } = view();
  loading += 1;
  try {
    if (name === "quarantine") await quarantine(content, stillHere, act);
    else if (name === "destinations") await destinations(content, stillHere, act);
    else if (name === "upload") await upload(content, stillHere);
    else if (name === "studies" && key) await study(content, stillHere, key, act);
    else await studies(content, stillHere);
  } catch (error) {
    if (stillHere()) show(content, make("p", { class: "notice bad", role: "alert" }, error.message));
  } finally {
    loading -= 1;
  }
}

function soon() {
  waiting ??= setTimeout(() => { waiting = null; refresh(); }, GATHER_MS);
}

async function act(address, label, { content, said: done } = {}) {
  try {
    const outcome = await (content ? postJson(address, content) : post(address));
    const how = typeof done === "function" ? done(outcome) : done;
    said.textContent = `${label}: ${how ?? `the ${outcome.kind} is ${outcome.state} now.`}`;
  } catch (error) {
    said.textContent = `${label}: ${error.message}`;
  }
  refresh();
}

function navigate() {
  const { name, key } = view();
  for (const item of document.querySelectorAll("nav a[data-view]")) {
    if (item.dataset.view === name && !key) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  said.textContent = "";
  return refresh();
}

function hear(message) {
  const news = JSON.parse(message.data);
  const { name, key } = view();
  if (news.kind === "progress" && advance(news)) {
    if (loading) soon(); // what is on its way may be older than this news
  } else if (!key || news.study_key === key || news.kind === "reload") {
    if (name !== "quarantine" || ["quarantine", "job", "reload"].includes(news.kind)) soon();
  }
}

function listen() {
  const source = new EventSource(EVENTS);
  source.onopen = () => { tell("live", "Live"); refresh(); look(); lookAtMirror(); };
  source.onmessage = hear;
  source.onerror = async () => {
    const isOver = source.readyState === EventSource.CLOSED;
    if (isOver && await hasNoStream()) { poll(); return; }
    tell("lost", "Connection lost, trying again…");
    if (isOver) setTimeout(listen, 5000);
  };
}

// An EventSource does not say how it was answered.
async function hasNoStream() {
  const asked = new AbortController();
  try {
    return (await fetch(EVENTS, { credentials: "same-origin", signal: asked.signal })).status === 501;
  } catch {
    return false;
  } finally {
    asked.abort();
  }
}

function poll() {
  for (const view of ["quarantine", "destinations"]) { // known to the gateways alone
    document.querySelector(`nav a[data-view="${view}"]`).remove();
  }
  tell("live", `Looks again every ${POLL_MS / 1000} s`);
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
    show(place, make("li", { class: "notice bad" }, "The gateway does not answer."));
  }
}

async function lookAtMirror() {
  try {
    const mirror = await get("/api/v1/mirror");
    const late = `${mirror.waiting} changes wait, the oldest for ${Math.round(mirror.lag_s)} s.`;
    const text = mirror.waiting ? late : "up to date.";
    document.getElementById("mirror").textContent = mirror.on ? `Mirror: ${text}` : "";
  } catch { /* the notices say it */ }
}

function begin() {
  window.addEventListener("hashchange", () => navigate().then(() => content.focus({ preventScroll: true })));
  setInterval(look, LOOK_MS);
  setInterval(lookAtMirror, LOOK_MS);
  navigate();
  if (!isOn()) { listen(); return; }
  const out = make("button", { type: "button", onclick: signOut }, "Sign out");
  document.getElementById("who").replaceChildren(`Signed in as ${who()} `, out);
  poll(); // a stream cannot send a token, and the cloud has none
}

function askToSignIn() {
  tell("lost", "Not signed in");
  show(content, make("p", { class: "notice bad", role: "alert" }, trouble),
    make("p", {}, make("button", { type: "button", onclick: leave }, "Sign in again")));
}

if (trouble) askToSignIn();
else begin();
