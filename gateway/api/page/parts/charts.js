// Draws what hours or days brought, as SVG: bars side by side, or lines. What is drawn is said in a sentence for
// those who do not see it, and each hour or day by itself to a pointer that rests on it.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44; // room for the numbers of the axis
const BOTTOM = 22;
const TOP = 10;
const RIGHT = 6;
const LABEL_WIDTH = 46;
const STEPS = 4;

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// `points`: one for each hour or day: `label` at the axis, `said` in words, `values` by the keys of `series`, null
// where there is none. `series`: keys, which are classes of its style, too. `number` writes a number of the axis, whose lines are `least` apart or further.
export function bars(asked) {
  const { points, series } = asked;
  const frame = framed(asked);
  const slot = frame.width / points.length;
  const gap = Math.min(8, slot * 0.2);
  const thick = (slot - gap) / series.length;
  points.forEach((point, at) => {
    series.forEach((key, which) => {
      const value = point.values[key];
      if (!value) return;
      const y = frame.y(value);
      frame.svg.append(draw("rect", {
        class: `bar ${key}`, x: LEFT + at * slot + gap / 2 + which * thick, y, rx: Math.min(2, thick / 4),
        width: Math.max(1, thick - 1), height: Math.max(1, frame.floor - y),
      }));
    });
  });
  return frame.done();
}

// The first of two series is a line, the second one a dashed line above it, with what lies between them shaded.
export function lines(asked) {
  const { points, series } = asked;
  const frame = framed(asked);
  const slot = frame.width / points.length;
  const x = (at) => LEFT + (at + 0.5) * slot;
  for (const run of runsOf(points, series)) {
    const [low, high] = series.map((key) => run.map((at) => [x(at), frame.y(points[at].values[key])]));
    const around = [...low, ...high.toReversed()];
    frame.svg.append(draw("path", { class: "between", d: `${path(around)}Z` }));
    frame.svg.append(draw("path", { class: `line ${series[1]}`, d: path(high) }));
    frame.svg.append(draw("path", { class: `line ${series[0]}`, d: path(low) }));
    for (const [cx, cy] of low) frame.svg.append(draw("circle", { class: `dot ${series[0]}`, cx, cy, r: 2.5 }));
    if (run.length === 1) frame.svg.append(draw("circle", { class: `dot ${series[1]}`, cx: high[0][0], cy: high[0][1], r: 2 }));
  }
  return frame.done();
}

const path = (places) => `M${places.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

// Neighbours that all have a value: a line is broken where there is none.
function runsOf(points, series) {
  const runs = [];
  points.forEach((point, at) => {
    if (series.some((key) => point.values[key] === null)) return;
    if (runs.at(-1)?.at(-1) === at - 1) runs.at(-1).push(at);
    else runs.push([at]);
  });
  return runs;
}

function framed({ width, height, points, series, said, number, least }) {
  const highest = Math.max(...points.flatMap((point) => series.map((key) => point.values[key] ?? 0)));
  const step = Math.max(niceStep(highest / STEPS), least);
  const top = Math.max(step * Math.ceil(highest / step), step);
  const floor = height - BOTTOM;
  const y = (value) => floor - ((floor - TOP) * value) / top;
  const inner = width - LEFT - RIGHT;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said, class: "chart" });
  for (let value = 0; value <= top * 1.001; value += step) {
    svg.append(draw("line", { class: value ? "grid" : "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(text(number(value), { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }));
  }
  const slot = inner / points.length;
  const every = Math.ceil((LABEL_WIDTH * points.length) / inner);
  points.forEach((point, at) => { // the last one is the present
    if ((points.length - 1 - at) % every) return;
    svg.append(text(point.label, { x: LEFT + (at + 0.5) * slot, y: height - 6, "text-anchor": "middle" }));
  });
  const done = () => { // on top, so that the pointer finds them
    points.forEach((point, at) => {
      svg.append(draw("rect", { class: "hover", x: LEFT + at * slot, y: TOP, width: slot, height: floor - TOP },
        draw("title", {}, point.said)));
    });
    return svg;
  };
  return { svg, y, floor, width: inner, done };
}

const text = (content, attributes) => draw("text", attributes, content);

// 1, 2 or 5 times a power of ten.
function niceStep(about) {
  if (!about) return 0;
  const power = 10 ** Math.floor(Math.log10(about));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= about);
}
