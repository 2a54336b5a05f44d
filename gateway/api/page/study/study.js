// One study: where it is and what to do, what was found, what was decided, what was sent, what happened.

import { addressOf, entitle } from "../parts/address.js";
import { get, path } from "../parts/api.js";
import { make, show } from "../parts/dom.js";
import { named, say } from "../parts/words.js";
import { isUpload, nameOf } from "../studies/studies.js";
import { anotherTask, tasksFor } from "./another_task.js";
import { deliveries, destinationsFor } from "./deliveries.js";
import { forgetting } from "./forgetting.js";
import { headline } from "./headline.js";
import { jobCard } from "./job.js";
import { seriesTable } from "./series.js";
import { steps } from "./steps.js";
import { timeline } from "./timeline.js";

export async function study(content, { isDue, key, act }) {
  const answer = await get(path("studies", key));
  const [names, tasks] = await Promise.all([destinationsFor(answer), tasksFor(answer)]);
  if (!await isDue(answer, names, tasks)) return;
  entitle(`${nameOf(answer)}, ${named(answer.state)}`);
  const hasDicom = !answer.jobs.some(isUpload);
  show(content,
    make("p", {}, make("a", { href: addressOf("studies"), "data-focus": "back" }, say("← All studies"))),
    headline(answer, act),
    section(say("Results"), answer.jobs.map((job) => jobCard(job, answer, act, anotherTask(job, answer, tasks, act))), say("No job was planned.")),
    hasDicom ? section(say("Deliveries"), deliveries(answer, names, act), say("Nothing was sent.")) : null,
    hasDicom ? section(say("Series"), seriesTable(answer, act), say("No series is known here.")) : null,
    section(say("Where the time went"), steps(answer), say("Nothing happened yet.")),
    section(say("What happened"), timeline(answer), say("Nothing happened yet.")),
    forgetting(answer, act));
}

function section(title, children, otherwise) {
  const filled = Array.isArray(children) ? children.length : children;
  return make("section", { "aria-label": title },
    make("h2", {}, title),
    filled ? children : make("p", { class: "quiet" }, otherwise));
}
