// What can be done about a job, as buttons.

import { button } from "../parts/actions.js";
import { path } from "../parts/api.js";
import { say } from "../parts/words.js";

const RETRIABLE = ["failed", "cancelled"];
const OVER = ["delivered", "cancelled", "superseded"];
const WAITS = ["pending", "failed"];
const BEFORE_THE_QUEUE = ["planned", "converted", "staged"];

export function jobButtons(job, answer, act) {
  const base = (verb) => path("jobs", job.job_key, verb);
  const isRefused = answer.deliveries.some((one) => one.job_key === job.job_key && one.state === "failed");
  return [
    RETRIABLE.includes(job.state) || isRefused ? button(say("Retry"), base("retry"), act) : null,
    job.next_try ? button(say("Try now"), base("retry"), act, { title: say("Do not wait any longer for the next try") }) : null,
    job.state === "quarantined" ? button(say("Release"), path("quarantine", job.job_key, "release"), act, {
      question: say("This lets the job {task} go on as it is: what it makes is sent to where its rule says.", { task: job.task }),
    }) : null,
    BEFORE_THE_QUEUE.includes(job.state) ? button(say("First"), base("priority"), act, {
      content: {}, said: say("it comes before all others that wait."), title: say("Let it go before all others that wait for the queue"),
    }) : null,
    OVER.includes(job.state) ? null : button(say("Cancel"), base("cancel"), act, { question: cancelling(job, answer) }),
  ];
}

function cancelling(job, answer) {
  const n = answer.deliveries.filter((one) => one.job_key === job.job_key && WAITS.includes(one.state)).length;
  if (!n) return say("This stops the job {task}. “Retry” takes it up again.", { task: job.task });
  return n === 1 ? say("This stops the job {task}, and 1 object is not sent. “Retry” takes it up again.", { task: job.task })
    : say("This stops the job {task}, and {n} objects are not sent. “Retry” takes it up again.", { task: job.task, n });
}
