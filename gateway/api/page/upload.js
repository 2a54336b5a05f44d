// Gives an image to segment. A gateway takes the file itself; in the cloud it is put where the answer says.

import { get, post } from "./api.js";
import { make, show } from "./dom.js";
import { cleaned } from "./nifti.js";

const NIFTI = "/api/v1/nifti";
const MB = 1e6;
const KEPT = "Voxels, geometry, type and scaling are kept; the rest of the header is dropped, the file’s name not sent.";
const PERSONAL = "Voxels remain personal data: a head shows a face. Where jobs run elsewhere, they leave this site by"
  + " your own act; no rule is asked.";

let view = null; // it stays as it is while other views are shown, and an upload goes on

export async function upload(content, stillHere) {
  const tasks = view ? null : await get("/api/v1/tasks");
  view ??= build(tasks);
  if (stillHere() && view.parentElement !== content) show(content, view);
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
  const start = make("button", {}, "Upload");
  const form = make("form", { class: "card upload" },
    field("NIfTI file", file), field("Task", task), field("Model", model),
    make("p", { class: "why" }, KEPT, " ", PERSONAL), start, running);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    try {
      await begin(tasks, file.files[0], task.value, model.value, running);
      form.reset();
      offerModels();
      running.replaceChildren();
    } catch (error) {
      running.replaceChildren(make("p", { class: "notice bad", role: "alert" }, error.message));
    } finally {
      start.disabled = false;
    }
  });
  return make("section", { "aria-label": "Upload" }, make("h1", {}, "Upload a NIfTI"), intro(tasks), form);
}

function intro(tasks) {
  const most = tasks.max_bytes ? `, of at most ${Math.floor(tasks.max_bytes / MB)} MB` : "";
  return make("p", {}, `One 3D image, .nii or .nii.gz${most}. What comes back is a label map on the same grid,`
    + " to download; nothing is sent to a PACS.");
}

const field = (name, input) => make("div", {}, make("label", { for: input.id }, name), input);

const taskName = (one) => `${one.task} (${one.modality}${one.is_licensed ? ", needs a licence" : ""})`;

const models = (one) => [make("option", { value: "" }, "standard"),
  ...one.variants.map((name) => make("option", { value: name }, name))];

async function begin(tasks, file, task, model, running) {
  if (tasks.max_bytes && file.size > tasks.max_bytes) {
    throw new Error(`This file has ${Math.ceil(file.size / MB)} MB; at most ${Math.floor(tasks.max_bytes / MB)} MB are taken.`);
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
  tell(running, "Reading the file…");
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

// fetch does not say how far it is.
function transfer(method, address, headers, body, running) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const bar = make("progress", { max: 100, value: 0, "aria-label": "Upload" });
    const said = make("span", { class: "why" }, "0 %");
    const stop = make("button", { type: "button", onclick: () => request.abort() }, "Stop");
    running.replaceChildren(make("span", { class: "progress" }, bar, said), stop);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = total ? (100 * loaded) / total : 0;
      said.textContent = loaded < total ? `${Math.floor(bar.value)} %` : "The image is looked at…";
      stop.hidden = loaded >= total; // from then on it may have begun
    });
    request.addEventListener("load", () => {
      const content = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(content);
      else reject(new Error(content?.detail ?? `The upload was answered with ${request.status}.`));
    });
    request.addEventListener("error", () => reject(new Error("The upload broke off. Look at the notices above, then try again.")));
    request.addEventListener("abort", () => reject(new Error("The upload was stopped; nothing of it is kept.")));
    request.open(method, address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

function tell(running, text) {
  running.replaceChildren(make("span", { class: "why" }, text));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
