// Gives an image to segment. A gateway takes the file itself; in the cloud it is put where the answer says.

import { get, post } from "../parts/api.js";
import { make, show } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { cleaned } from "./nifti.js";
import { BrokeOff, transfer } from "./transfer.js";

const NIFTI = "/api/v1/nifti";
const MB = 1e6;

let view = null; // it stays as it is while other views are shown, and an upload goes on

export async function upload(content, { isDue }) {
  const tasks = view ? null : await get("/api/v1/tasks");
  view ??= build(tasks);
  if (await isDue() && view.parentElement !== content) show(content, view);
}

function build(tasks) {
  const file = make("input", { type: "file", id: "file", accept: ".nii,.gz", required: true });
  const task = make("select", { id: "task" }, tasks.items.map((one) =>
    make("option", { value: one.task, selected: one.task === tasks.default_task }, taskName(one))));
  const model = make("select", { id: "model" });
  const offerModels = () => model.replaceChildren(...models(tasks.items.find((one) => one.task === task.value)));
  task.addEventListener("change", offerModels);
  offerModels();
  const running = make("div", { class: "sending", "aria-live": "polite" });
  const start = make("button", {}, say("Upload"));
  const form = make("form", { class: "card upload" },
    field(say("NIfTI file"), file), field(say("Task"), task), field(say("Model"), model),
    make("p", { class: "why" }, say("Voxels, geometry, type and scaling are kept; the rest of the header is dropped, the file’s name not sent. Voxels remain personal data: a head shows a face. Where jobs run elsewhere, they leave this site by your own act; no rule is asked.")),
    start, running);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    try {
      await begin(tasks, file.files[0], task.value, model.value, running);
      form.reset();
      offerModels();
      running.replaceChildren();
    } catch (error) {
      const again = () => make("button", { type: "button", onclick: () => form.requestSubmit() }, say("Send it again")); // the file is chosen still
      running.replaceChildren(make("p", { class: "notice bad", role: "alert" }, error.message), ...(error instanceof BrokeOff ? [again()] : []));
    } finally {
      start.disabled = false;
    }
  });
  return make("section", { "aria-label": say("Upload") }, make("h1", {}, say("Upload a NIfTI")), intro(tasks), form);
}

function intro(tasks) {
  return make("p", {}, say("One 3D image, .nii or .nii.gz. What comes back is a label map on the same grid, to download; nothing is sent to a PACS."),
    tasks.max_bytes ? say(" At most {n} MB are taken.", { n: Math.floor(tasks.max_bytes / MB) }) : "");
}

const field = (name, input) => make("div", {}, make("label", { for: input.id }, name), input);

const taskName = (one) => (one.is_licensed ? say("{task} ({modality}, needs a licence)", { task: one.task, modality: one.modality })
  : say("{task} ({modality})", { task: one.task, modality: one.modality }));

const models = (one) => [make("option", { value: "" }, say("standard")),
  ...one.variants.map((name) => make("option", { value: name }, name))];

async function begin(tasks, file, task, model, running) {
  if (tasks.max_bytes && file.size > tasks.max_bytes) {
    throw new Error(say("This file has {n} MB; at most {most} MB are taken.", { n: Math.ceil(file.size / MB), most: Math.floor(tasks.max_bytes / MB) }));
  }
  const form = new FormData();
  form.append("task", task);
  form.append("options", JSON.stringify(model ? { [model]: true } : {}));
  const taken = tasks.takes === "put" ? await put(form, file, running) : await send(form, file, running);
  if (running.isConnected) location.hash = `#/studies/${encodeURIComponent(taken.study_key)}`;
}

async function send(form, file, running) {
  form.append("file", file, "image"); // under no name of its own
  return transfer("POST", NIFTI, { "X-IRIS-Page": "1" }, form, running);
}

async function put(form, file, running) {
  tell(running, say("Reading the file…"));
  const made = await cleaned(file); // here already: the cloud takes it as it is
  form.append("sha256", await digest(made));
  form.append("bytes", String(made.size));
  const offered = await post(NIFTI, form);
  if (offered.put) await transfer("PUT", offered.put.url, offered.put.headers, made, running);
  await post(`${NIFTI}/${encodeURIComponent(offered.job_key)}/start`);
  return offered;
}

async function digest(file) {
  const bytes = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function tell(running, text) {
  running.replaceChildren(make("span", { class: "why" }, text));
}
