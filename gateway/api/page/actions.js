// Buttons that ask for something.

import { make } from "./dom.js";

// `asked`: the content that is sent with it, what is said once it is done, the title that a pointer resting on it
// reads, and its name for the keyboard where it is not the only one with its address.
export function button(label, address, act, asked = {}) {
  return make("button", {
    type: "button", title: asked.title, "data-focus": asked.focus ?? address,
    onclick: () => act(address, label, asked),
  }, label);
}
