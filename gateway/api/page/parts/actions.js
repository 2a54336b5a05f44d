// Buttons that ask for something.

import { make } from "./dom.js";
import { may } from "./me.js";

// Null where who is signed in may not do that, which takes the role `asked.needs`, an operator's if nothing is said.
// `asked`: the content that is sent with it, what is said once it is done (or what makes that of the answer), the title that a pointer resting on it
// reads, its name for the keyboard where it is not the only one with its address, and the question that a person
// has to say yes to first: a sentence, or what gives one; null where there is nothing to be done.
export function button(label, address, act, asked = {}) {
  if (!may(asked.needs ?? "operator")) return null;
  const press = async () => {
    if (!asked.question || await isMeant(asked.question, label)) act(address, label, asked);
  };
  return make("button", {
    type: "button", title: asked.title, "data-focus": asked.focus ?? address, onclick: press,
  }, label);
}

async function isMeant(question, label) {
  const sentence = typeof question === "string" ? question : await question();
  return sentence !== null && confirmed(sentence, label);
}

// Says what will happen, and waits for yes or no; until then the keyboard stays here.
function confirmed(sentence, label) {
  return new Promise((answer) => {
    const dialog = make("dialog", { "aria-label": label, class: "card", onclose: () => { dialog.remove(); answer(dialog.returnValue === "yes"); } },
      make("p", {}, sentence),
      make("div", { class: "actions" },
        make("button", { type: "button", onclick: () => dialog.close("yes") }, label),
        make("button", { type: "button", autofocus: true, onclick: () => dialog.close("") }, "Leave it as it is")));
    document.body.append(dialog);
    dialog.showModal();
  });
}
