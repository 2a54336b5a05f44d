// A view of surfaces that can be turned: the picture, from where it is seen, and the list of structures.

import { make } from "../../parts/dom.js";
import { say } from "../../parts/words.js";
import { readGlb } from "./glb.js";
import { direction, turned } from "./matrix.js";
import { list } from "./list.js";
import { Scene } from "./scene.js";
import { turning } from "./turning.js";

const TURN_MS = 450;
const FRONT = [0, 0.06]; // radians: from the front, a little from above
const OBLIQUE = 0.6; // where hardly anything is seen from the front: a few slices
const FLAT = 0.5;

export function viewer(content, shown, name, onClose) {
  const model = readGlb(content);
  const said = make("p", { class: "surface-said", role: "status" });
  const canvas = make("canvas", { tabindex: 0, role: "img", "aria-label": name, "aria-describedby": "surface-keys" });
  const edges = ["left", "right", "top", "bottom"].map((side) => make("span", { class: `surface-edge at-${side}`, "aria-hidden": "true" }));
  const label = make("span", { class: "surface-name", "aria-hidden": "true" });
  const picture = make("div", { class: "surface-picture" }, canvas, edges, label);
  let scene = null;
  let asked = 0;
  let moving = 0;
  let pointing = 0;

  const draw = () => { asked ||= requestAnimationFrame(() => { asked = 0; scene.draw(); mark(); }); };
  const structures = list(model.structures, shown.structures, () => { draw(); });

  // Which way of the patient each edge of the picture is.
  function mark() {
    const view = turned(scene.camera.yaw, scene.camera.pitch);
    const ways = [[[-1, 0, 0], say("R")], [[1, 0, 0], say("L")], [[0, 1, 0], say("S")], [[0, -1, 0], say("I")], [[0, 0, 1], say("A")], [[0, 0, -1], say("P")]]
      .map(([way, letter]) => ({ letter, seen: direction(view, way) }));
    const most = (axis, sign) => ways.reduce((best, each) => (sign * each.seen[axis] > sign * best.seen[axis] ? each : best)).letter;
    [[0, -1], [0, 1], [1, 1], [1, -1]].forEach(([axis, sign], at) => { edges[at].textContent = most(axis, sign); });
  }

  // Turns there, at once where somebody wants nothing to move.
  function turnTo(yaw, pitch) {
    const from = { ...scene.camera };
    const far = Math.atan2(Math.sin(yaw - from.yaw), Math.cos(yaw - from.yaw)); // the shorter way round
    const to = { pitch, zoom: scene.filling(yaw, pitch), x: 0, y: 0 };
    const begun = performance.now();
    const lasts = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : TURN_MS;
    cancelAnimationFrame(moving);
    const step = (now) => {
      const share = lasts ? Math.min(1, Math.max(0, (now - begun) / lasts)) : 1;
      const eased = share * share * (3 - 2 * share);
      scene.camera.yaw = from.yaw + far * eased;
      for (const [name, value] of Object.entries(to)) scene.camera[name] = from[name] + (value - from[name]) * eased;
      draw();
      if (share < 1) moving = requestAnimationFrame(step);
    };
    step(begun);
  }

  function hide(place) {
    const found = scene.at(...place);
    if (!found) return;
    structures.toggle(found);
    said.textContent = say("{title} is hidden now; the list shows it again.", { title: found.title });
  }

  // Once a picture at most: a pointer tells of more places than are drawn.
  function soon(place) {
    cancelAnimationFrame(pointing);
    pointing = requestAnimationFrame(() => point(place));
  }

  function point(place) {
    const found = place ? scene.at(...place) : null;
    label.textContent = found ? found.title : "";
    if (!found) return;
    label.style.left = `${place[0]}px`;
    label.style.top = `${place[1]}px`;
  }

  const sides = [
    [say("Front"), ...FRONT], [say("Back"), Math.PI, 0], [say("Left"), -Math.PI / 2, 0], [say("Right"), Math.PI / 2, 0],
    [say("Above"), 0, Math.PI / 2], [say("Below"), 0, -Math.PI / 2],
  ].map(([title, yaw, pitch]) => make("button", { type: "button", onclick: () => turnTo(yaw, pitch) }, title));
  const bar = make("div", { class: "surface-bar", role: "group", "aria-label": say("Seen from") }, sides);
  const element = make("section", { class: "surface-view", "aria-label": name },
    make("div", { class: "surface-stage" }, bar, picture, said,
      make("p", { class: "why", id: "surface-keys" },
        say("Drag to turn; with Shift, or with two fingers, to move. A click hides a structure. With the picture in focus: arrows turn, + and - or the wheel zoom, Home goes back."))),
    structures.element);
  const zoomed = [];
  const watching = new ResizeObserver(draw);

  function begin() {
    scene = new Scene(canvas, model);
    const { zoom } = turning(canvas, scene.camera, {
      changed: () => { cancelAnimationFrame(moving); draw(); }, pointed: soon, pressed: hide, home: () => turnTo(...FRONT),
    });
    for (const [sign, title, by] of [["+", say("Zoom in"), 1.25], ["−", say("Zoom out"), 0.8]]) {
      zoomed.push(make("button", { type: "button", "aria-label": title, title, onclick: () => zoom(by) }, sign));
    }
    zoomed.push(make("button", { type: "button", onclick: onClose }, say("Close 3D")));
    bar.append(make("span", { class: "surface-zoom" }, zoomed));
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); said.textContent = say("The graphics card gave up; one moment…"); });
    canvas.addEventListener("webglcontextrestored", () => { scene.restore(); said.textContent = ""; draw(); });
    watching.observe(picture);
    Object.assign(scene.camera, { yaw: -0.5, pitch: 0.25 });
    const [, height, depth] = scene.half.map(Math.abs);
    turnTo(0, height < FLAT * depth ? OBLIQUE : FRONT[1]);
    canvas.focus({ preventScroll: true });
  }

  function close() {
    watching.disconnect();
    for (const each of [asked, moving, pointing]) cancelAnimationFrame(each);
    scene?.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  return { element, begin, close };
}
