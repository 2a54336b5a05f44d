// A job's files. Signed in by a token they are fetched by the page, since neither an image nor a link can send one.

import { authorization, isOn } from "../sign-in/sign-in.js";
import { make } from "./dom.js";
import { say } from "./words.js";

// The bucket, which the API leads to, gets no token: browsers drop it on the way to another origin.
async function answered(address) {
  const answer = await fetch(address, { headers: await authorization() });
  if (!answer.ok) throw new Error(say("The file was answered with {status}.", { status: answer.status }));
  return answer;
}

const fetched = async (address) => URL.createObjectURL(await (await answered(address)).blob());

export const json = async (address) => (await answered(address)).json();

export function fileLink(label, address, name, attributes) {
  const link = make("a", { href: address, ...attributes }, label);
  if (isOn()) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      try {
        const source = await fetched(address);
        make("a", { href: source, download: name }).click();
        setTimeout(() => URL.revokeObjectURL(source), 60000);
      } catch (error) {
        link.after(make("span", { class: "why", role: "alert" }, ` ${error.message}`));
      }
    });
  }
  return link;
}

export function picture(address, attributes, onMissing) {
  const image = make("img", { ...attributes, src: isOn() ? null : address });
  const missing = () => { onMissing(); image.remove(); };
  image.addEventListener("error", missing);
  if (isOn()) {
    fetched(address).then((source) => {
      image.addEventListener("load", () => URL.revokeObjectURL(source));
      image.src = source;
    }, missing);
  }
  return image;
}
