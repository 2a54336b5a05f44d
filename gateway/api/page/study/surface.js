// The surfaces of a job: to be downloaded, and to be turned in 3D. What draws them is loaded when it is wanted.

import { path } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { fileLink } from "../parts/files.js";
import { say } from "../parts/words.js";
import { authorization } from "../sign-in/sign-in.js";

const GLB = "surface.glb";
const opened = new Map(); // what is shown, by job: it is the same one while the page is drawn anew

export function surface(job) {
  if (!job.files.includes(GLB)) return null;
  const link = (name, label) => fileLink(label, path("jobs", job.job_key, name), name, { download: name });
  const links = make("p", { class: "surface-links" },
    say("Surfaces of the structures:"), " ",
    link(GLB, say("GLB")), " · ", link("surface.obj", say("OBJ")), " · ", link("surface.mtl", say("its colours (MTL)")), " · ",
    link("surface.json", say("what they show (JSON)")));
  return make("div", { class: "surface" }, place(job), links);
}

function place(job) {
  const version = `${job.job_key} ${job.attempts} ${job.updated}`;
  const known = opened.get(job.job_key);
  if (known?.version === version) return takenAlong(known.element);
  known?.close();
  const element = make("div", {});
  const entry = { version, element, close: () => {} };
  opened.set(job.job_key, entry);
  const offer = (sentence = "") => element.replaceChildren(
    make("button", { type: "button", "data-focus": `surface ${job.job_key}`, onclick: open }, say("Show in 3D")),
    sentence ? make("span", { class: "why", role: "alert" }, ` ${sentence}`) : "");
  async function open() {
    element.replaceChildren(make("p", { class: "quiet", role: "status" }, say("Loading the surfaces…")));
    try {
      const [{ viewer }, content, shown] = await Promise.all([
        import("./surface/viewer.js"),
        fetched(job, GLB).then((answer) => answer.arrayBuffer()),
        fetched(job, "surface.json").then((answer) => answer.json()),
      ]);
      const view = viewer(content, shown, say("Surfaces of {task}", { task: job.task }), () => { entry.close(); offer(); focus(); });
      entry.close = view.close;
      element.replaceChildren(view.element);
      view.begin();
    } catch (error) {
      offer(say("It cannot be shown here: {why}", { why: error.message }));
      focus();
    }
  }
  const focus = () => element.querySelector("button").focus();
  offer();
  return element;
}

// While the page is drawn anew the element leaves it for a moment, and would lose the keyboard and how far it is scrolled.
function takenAlong(element) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = element.querySelector(".surface-list");
  const top = scrolled?.scrollTop;
  queueMicrotask(() => {
    focused?.focus({ preventScroll: true });
    if (scrolled) scrolled.scrollTop = top;
  });
  return element;
}

async function fetched(job, name) {
  const answer = await fetch(path("jobs", job.job_key, name), { headers: await authorization() });
  if (!answer.ok) throw new Error(say("the file was answered with {status}", { status: answer.status }));
  return answer;
}
