// Draws surfaces with WebGL, and says which of them is at a place of the picture.

import { direction, moved, perspective, point, times, turned } from "./matrix.js";
import { lit, numbered } from "./shaders.js";

const FIELD = 0.5; // radians, of the picture's smaller side
const FILLED = 0.88;
const MOST_DENSE = 2;

export class Scene {
  constructor(canvas, model) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, alpha: true });
    if (!this.gl) throw new Error("no WebGL");
    this.matrix = model.matrix;
    this.structures = model.structures;
    this.camera = { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 };
    this.enclose();
    this.restore();
  }

  // The ball around everything: what is hidden counts, too, so that nothing jumps.
  enclose() {
    const corners = this.structures.flatMap(({ min, max }) => [min, max]);
    const of = (pick) => [0, 1, 2].map((axis) => pick(...corners.map((corner) => corner[axis])));
    const [low, high] = [of(Math.min), of(Math.max)];
    this.centre = point(this.matrix, low.map((value, axis) => (value + high[axis]) / 2));
    this.half = direction(this.matrix, high.map((value, axis) => (value - low[axis]) / 2));
    this.radius = Math.hypot(...this.half);
  }

  // The zoom with which everything, seen from there, fills the picture.
  filling(yaw, pitch) {
    this.fit();
    const view = turned(yaw, pitch);
    const wide = Math.max(1, this.canvas.width / this.canvas.height);
    const tall = Math.max(1, this.canvas.height / this.canvas.width);
    const edge = Math.tan(FIELD / 2);
    const away = Math.max(...[0, 1, 2, 3, 4, 5, 6, 7].map((corner) => {
      const [x, y, z] = direction(view, this.half.map((value, axis) => (corner & (1 << axis) ? value : -value)));
      return z + Math.max(Math.abs(x) / wide, Math.abs(y) / tall) / edge;
    }));
    return (FILLED * this.radius) / Math.sin(FIELD / 2) / away;
  }

  // Everything that the graphics card holds; also after it forgot that.
  restore() {
    const { gl } = this;
    this.lit = lit(gl);
    this.numbered = numbered(gl);
    this.beside = null;
    for (const structure of this.structures) {
      structure.array = gl.createVertexArray();
      gl.bindVertexArray(structure.array);
      [structure.points, structure.normals].forEach((values, location) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(location);
        gl.vertexAttribPointer(location, 3, gl.FLOAT, false, 0, 0);
      });
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, structure.triangles, gl.STATIC_DRAW);
    }
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  fit() {
    const dense = Math.min(window.devicePixelRatio, MOST_DENSE);
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * dense));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * dense));
  }

  views() {
    const { yaw, pitch, zoom, x, y } = this.camera;
    const aspect = this.canvas.width / this.canvas.height;
    const field = 2 * Math.atan(Math.tan(FIELD / 2) / Math.min(1, aspect));
    const away = (this.radius / Math.sin(FIELD / 2)) / zoom;
    const seen = times(turned(yaw, pitch), times(moved(...this.centre.map((value) => -value)), this.matrix));
    const near = Math.max(away - 1.5 * this.radius, this.radius / 100);
    return {
      toEye: times(moved(x * this.radius, y * this.radius, -away), seen),
      toPicture: perspective(field, aspect, near, away + 1.5 * this.radius),
    };
  }

  draw() {
    const { gl } = this;
    this.fit();
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const shown = this.structures.filter((structure) => !structure.hidden);
    const { lit: program } = this;
    this.use(program);
    const paint = (structure, glass) => {
      gl.uniform3fv(program.color, structure.color);
      gl.uniform1f(program.glass, glass);
      this.triangles(structure);
    };
    for (const structure of shown.filter((each) => !each.glass)) paint(structure, 0);
    gl.enable(gl.BLEND);
    gl.enable(gl.CULL_FACE);
    gl.depthMask(false);
    for (const side of [gl.FRONT, gl.BACK]) { // what is behind is painted first
      gl.cullFace(side);
      for (const structure of shown.filter((each) => each.glass)) paint(structure, 1);
    }
    gl.depthMask(true);
    gl.disable(gl.CULL_FACE);
    gl.disable(gl.BLEND);
  }

  use(program) {
    const { toEye, toPicture } = this.views();
    this.gl.useProgram(program.program);
    this.gl.uniformMatrix4fv(program.toEye, false, toEye);
    this.gl.uniformMatrix4fv(program.toPicture, false, toPicture);
  }

  triangles(structure) {
    this.gl.bindVertexArray(structure.array);
    this.gl.drawElements(this.gl.TRIANGLES, structure.triangles.length, this.gl.UNSIGNED_INT, 0);
  }

  // The structure at a place in CSS pixels; what is of glass only where nothing else is.
  at(x, y) {
    return this.among(x, y, (each) => !each.glass) ?? this.among(x, y, (each) => each.glass);
  }

  among(x, y, wanted) {
    const { gl } = this;
    this.drawBeside();
    const [left, top] = [[x, this.canvas.width / this.canvas.clientWidth], [y, this.canvas.height / this.canvas.clientHeight]]
      .map(([value, dense]) => Math.floor(value * dense));
    const [atX, atY] = [left, this.canvas.height - 1 - top];
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(atX, atY, 1, 1);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.use(this.numbered);
    this.structures.forEach((structure, number) => {
      if (structure.hidden || !wanted(structure)) return;
      gl.uniform3f(this.numbered.color, (number + 1) / 255, 0, 0); // labels are 1 to 255
      this.triangles(structure);
    });
    const found = new Uint8Array(4);
    gl.readPixels(atX, atY, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, found);
    gl.disable(gl.SCISSOR_TEST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    return this.structures[found[0] - 1] ?? null;
  }

  // A picture that nobody sees, as large as the one that is seen.
  drawBeside() {
    const { gl } = this;
    const { width, height } = this.canvas;
    if (!this.beside) {
      this.beside = { buffer: gl.createFramebuffer(), color: gl.createRenderbuffer(), depth: gl.createRenderbuffer() };
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.beside.buffer);
    gl.viewport(0, 0, width, height);
    if (this.beside.width === width && this.beside.height === height) return;
    const parts = [[this.beside.color, gl.RGBA8, gl.COLOR_ATTACHMENT0], [this.beside.depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]];
    for (const [buffer, kind, place] of parts) {
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorage(gl.RENDERBUFFER, kind, width, height);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, place, gl.RENDERBUFFER, buffer);
    }
    Object.assign(this.beside, { width, height });
  }
}
