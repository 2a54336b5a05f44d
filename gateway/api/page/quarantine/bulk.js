// What can be done about all that wait for one reason, or came from one sender.

import { button } from "../parts/actions.js";
import { path, postJson } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { say } from "../parts/words.js";

const BULK = path("actions");

export function bulk(answer, query, act) {
  const reason = query.get("reason") ?? "";
  const object_sender = query.get("sender") ?? "";
  if (query.get("dismissed") || !(reason || object_sender) || answer.items.length < 2) return null;
  const filter = { ...(reason ? { reason } : {}), ...(object_sender ? { object_sender } : {}) };
  const releases = answer.items.some((one) => one.releasable);
  return make("div", { class: "actions" },
    releases ? all("release", say("Release all of them"), filter, act, (n) => (reason === "held"
      ? say("This lets {n} held jobs go on, and their results out.", { n })
      : say("This takes {n} objects in as what they say themselves. What cannot be taken in stays.", { n }))) : null,
    reason === "held" ? null : all("dismiss", say("Dismiss all of them"), filter, act, (n) =>
      say("{n} objects are settled then: nobody is asked about them any more. They stay on the disk until they are old, under Dismissed.", { n })));
}

// The gateway says first how many they are.
function all(action, label, filter, act, sentence) {
  const wish = (dry_run) => ({ action, filter, dry_run });
  return button(label, BULK, act, {
    content: wish(false),
    focus: `${action} all`,
    said: ({ count, left_alone, why }) => (left_alone
      ? say("{count}; {left} left alone: {why}", { count, left: left_alone, why }) : say("{count} of them.", { count })),
    question: async () => {
      const { count } = await postJson(BULK, wish(true));
      return count ? sentence(count) : null;
    },
  });
}
