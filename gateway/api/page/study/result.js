// What a job found: its preview, its figures, its files.

import { path } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { fileLink, picture } from "../parts/files.js";
import { say } from "../parts/words.js";
import { statistics } from "./statistics.js";
import { surface } from "./surface.js";

const HAS_FILES = ["segmented", "encoded", "delivered"];
const pictures = new Map();

export function result(job) {
  if (job.results_removed || !(HAS_FILES.includes(job.state) || isHeld(job))) return null;
  const at = (name) => path("jobs", job.job_key, name);
  return make("div", { class: "result" },
    make("div", {},
      preview(job, at("preview.png")),
      make("p", {},
        fileLink(say("Label map (NIfTI)"), at("labels.nii.gz"), "labels.nii.gz", { download: "labels.nii.gz" }), " · ",
        fileLink(say("Statistics (JSON)"), at("statistics.json"), "statistics.json"))),
    statistics(job, at("statistics.json")),
    surface(job));
}

// A person who is to release it looks at it first.
const isHeld = (job) => job.state === "quarantined" && job.progress.fraction === 1;

// The same element again while the job stays as it is: it does not flicker, and is not fetched anew.
function preview(job, address) {
  const version = `${job.job_key} ${job.attempts} ${job.state}`;
  if (!pictures.has(version)) {
    const attributes = { class: "preview", alt: say("Preview of {task}", { task: job.task }) };
    pictures.set(version, picture(address, attributes, () => pictures.delete(version)));
  }
  return pictures.get(version);
}
