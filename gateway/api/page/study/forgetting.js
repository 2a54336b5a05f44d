// The last that can be done with a study, at the foot of its page.

import { button } from "../parts/actions.js";
import { path } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { isUpload } from "../studies/studies.js";

export function forgetting(answer, act) {
  if (!answer.study_uid && !answer.jobs.every(isUpload)) return null; // in the cloud its gateway does it
  return make("p", { class: "forgetting" }, button(say("Forget"), path("studies", answer.study_key, "forget"), act, {
    needs: "admin",
    title: say("Erase the study here"),
    question: say("This erases the study here for good: {images}, {jobs} and what was made. What destinations have of it stays there. It cannot be taken back.", {
      images: answer.images === 1 ? say("1 image") : say("{n} images", { n: answer.images }),
      jobs: answer.jobs.length === 1 ? say("1 job") : say("{n} jobs", { n: answer.jobs.length }),
    }),
  }));
}
