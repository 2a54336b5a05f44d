// What can be done with many studies at once, and what is said of it before.

import { count } from "../parts/numbers.js";
import { say } from "../parts/words.js";

const jobs = (n) => (n === 1 ? say("1 job") : say("{n} jobs", { n: count(n) }));
const deliveries = (n) => (n === 1 ? say("1 delivery") : say("{n} deliveries", { n: count(n) }));
const studies = (n) => (n === 1 ? say("1 study") : say("{n} studies", { n: count(n) }));
const jobsOrDeliveries = (n) => (n === 1 ? say("1 job or delivery") : say("{n} jobs and deliveries", { n: count(n) }));

export const ACTIONS = [
  {
    action: "retry", label: say("Retry"), things: jobsOrDeliveries,
    question: (things, of) => say("This takes up again {things} of {studies} that failed. Settle first what the studies say.", { things, studies: of }),
  },
  {
    action: "release", label: say("Release"), things: jobs,
    question: (things, of) => say("This lets {things} of {studies} go on that are held. Look at each first: what is held is in doubt, or lacks images.", { things, studies: of }),
  },
  {
    action: "complete", label: say("It is complete"), things: studies,
    question: (things) => say("This takes {studies} as complete: no more images are waited for.", { studies: things }),
  },
  {
    action: "resend", label: say("Send again"), things: deliveries,
    question: (things, of) => say("This sends again {things} of {studies}, to where they went, under the same UIDs.", { things, studies: of }),
  },
  {
    action: "drop", label: say("Do not send"), things: deliveries,
    question: (things, of) => say("This gives up sending {things} of {studies}: what waits and what failed. It stays here, and can be sent after all.", { things, studies: of }),
  },
  {
    action: "cancel", label: say("Cancel"), things: jobs,
    question: (things, of) => say("This stops {things} of {studies}, and what they have not delivered. A retry takes them up again.", { things, studies: of }),
  },
  {
    action: "forget", label: say("Forget"), things: studies, needs: "admin",
    question: (things) => say("This erases {studies} here: images, results and what is known of them. What was sent stays where it is. It cannot be undone.", { studies: things }),
  },
];
