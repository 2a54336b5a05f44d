// Another task on the images of a job, as a further job of its study.

import { button } from "../parts/actions.js";
import { get, path } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { may } from "../parts/me.js";
import { say } from "../parts/words.js";
import { isUpload } from "../studies/studies.js";

const chosen = new Map(); // what is chosen stays so while the page is shown anew
let known = null;

// What can be run on the images of a study; nothing where they are not all here, or who looks may not.
export async function tasksFor(answer) {
  const isReady = answer.study_uid && answer.state !== "receiving" && !answer.images_removed;
  if (!isReady || !may("operator")) return [];
  known ??= (await get("/api/v1/tasks")).items;
  return known;
}

export function anotherTask(job, answer, tasks, act) {
  const series = answer.series.find((one) => one.series_uid === job.series_uid);
  const has = answer.jobs.filter((one) => one.series_uid === job.series_uid).map((one) => one.task);
  const others = tasks.filter((one) => !has.includes(one.task) && (!series?.modality || one.modality === series.modality)).map((one) => one.task);
  if (!others.length || job.state === "superseded" || isUpload(job)) return null; // of an upload nothing is sent
  const task = () => (others.includes(chosen.get(job.job_key)) ? chosen.get(job.job_key) : others[0]);
  const asked = {
    get content() { return { task: task() }; }, get said() { return say("the task {task} is a job of this study now.", { task: task() }); },
    question: () => say("This runs the task {task} on the same images, as a further job. What it makes is sent to where the results of {before} go; those stay.", { task: task(), before: job.task }),
  };
  const options = others.map((name) => make("option", { value: name, selected: name === task() }, name));
  return make("details", { "data-keep": `another ${job.job_key}` }, make("summary", {}, say("Run another task")),
    make("div", { class: "actions" }, make("span", { class: "field" },
      make("select", { "aria-label": say("Another task"), "data-focus": `${job.job_key} task`, onchange: (event) => chosen.set(job.job_key, event.target.value) }, options),
      button(say("Run it"), path("jobs", job.job_key, "reprocess"), act, asked))));
}
