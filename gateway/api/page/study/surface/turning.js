// Turns, moves and zooms a camera by mouse, fingers, wheel and keys. `changed` is called after each change, `pointed`
// with a place where the pointer rests, or null, `pressed` with a place that was pressed without moving, `home` when
// somebody wants to begin anew.

const TURN = 0.008; // radians a pixel
const STEP = Math.PI / 12;
const ZOOMS = [0.5, 12];
const STILL = 4; // pixels: a press, not a drag

const within = (value, low, high) => Math.min(high, Math.max(low, value));

export function turning(canvas, camera, { changed, pointed, pressed, home }) {
  const pointers = new Map();
  let begun = null;

  const turn = (yaw, pitch) => {
    camera.yaw += yaw;
    camera.pitch = within(camera.pitch + pitch, -Math.PI / 2, Math.PI / 2);
    changed();
  };
  const zoom = (by) => { camera.zoom = within(camera.zoom * by, ...ZOOMS); changed(); };
  const move = (x, y) => {
    const scale = 1.9 / (Math.min(canvas.clientWidth, canvas.clientHeight) * camera.zoom);
    camera.x = within(camera.x + x * scale, -1.5, 1.5);
    camera.y = within(camera.y - y * scale, -1.5, 1.5);
    changed();
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [one, other] = [...pointers.values()];
    return { far: Math.hypot(one[0] - other[0], one[1] - other[1]), x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    begun = pointers.size === 1 && event.button === 0 ? place(event) : null;
    pointed(null);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    const now = place(event);
    if (!before) { pointed(now); return; }
    if (begun && Math.hypot(now[0] - begun[0], now[1] - begun[1]) > STILL) begun = null;
    if (pointers.size === 2) {
      const was = spread();
      pointers.set(event.pointerId, now);
      const is = spread();
      zoom(is.far / Math.max(was.far, 1));
      move(is.x - was.x, is.y - was.y);
      return;
    }
    pointers.set(event.pointerId, now);
    const [x, y] = [now[0] - before[0], now[1] - before[1]];
    if (event.shiftKey || event.buttons & 6) move(x, y);
    else if (!begun) turn(x * TURN, y * TURN);
  });
  const end = (event) => {
    if (pointers.delete(event.pointerId) && begun && event.type === "pointerup") pressed(begun);
    begun = null;
  };
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, end);
  canvas.addEventListener("pointerleave", () => pointed(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; // else nobody could scroll past it
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const keys = {
      ArrowLeft: () => turn(-STEP, 0), ArrowRight: () => turn(STEP, 0), ArrowUp: () => turn(0, -STEP), ArrowDown: () => turn(0, STEP),
      "+": () => zoom(1.2), "=": () => zoom(1.2), "-": () => zoom(1 / 1.2),
      Home: home,
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  return { zoom };
}
