// Whether something is being pressed: a button that is drawn anew between press and release loses the click, and a
// list that is unfolded is folded again.

const LONGEST_MS = 10000; // the system keeps some releases to itself

let over = null; // the timer that ends the press
let waiting = [];

function press(event) {
  if (event.type === "keydown" ? event.key !== " " : event.button !== 0) return;
  clearTimeout(over);
  over = setTimeout(release, LONGEST_MS);
}

function release() {
  clearTimeout(over);
  over = null;
  const due = waiting.splice(0);
  setTimeout(() => { for (const go of due) go(); }); // the click is of the same task as the release
}

const hear = (names, heard) => { for (const name of names) window.addEventListener(name, heard, { capture: true, passive: true }); };
hear(["pointerdown", "keydown"], press);
hear(["pointerup", "pointercancel", "keyup", "contextmenu", "change", "dragend"], release);

// Resolved at once, or when what is pressed is released.
export const released = () => new Promise((go) => { if (over) waiting.push(go); else go(); });
