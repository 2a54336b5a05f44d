// How surfaces are lit, and how it is found which of them is at a place of the picture.

const VERTEX = `#version 300 es
uniform mat4 toEye, toPicture;
layout(location = 0) in vec3 place;
layout(location = 1) in vec3 normal;
out vec3 eye, outward;
void main() {
  vec4 seen = toEye * vec4(place, 1.0);
  eye = seen.xyz;
  outward = mat3(toEye) * normal;
  gl_Position = toPicture * seen;
}`;

// Light from above and from the viewer's left, a little from behind, and edges that shine where it is of glass.
const LIT = `#version 300 es
precision highp float;
uniform vec3 color;
uniform float glass;
in vec3 eye, outward;
out vec4 seen;
const vec3 KEY = vec3(-0.39, 0.62, 0.68), FILL = vec3(0.75, 0.05, 0.65), BACK = vec3(0.2, 0.45, -0.87);
void main() {
  vec3 n = normalize(outward), v = normalize(-eye);
  if (!gl_FrontFacing) n = -n;
  float facing = max(dot(n, v), 0.0);
  float light = 0.62 * pow(0.5 + 0.5 * dot(n, KEY), 2.0) + 0.18 * max(dot(n, FILL), 0.0) + mix(0.1, 0.26, 0.5 + 0.5 * n.y);
  float shine = 0.16 * pow(max(dot(n, normalize(KEY + v)), 0.0), 42.0);
  float edge = pow(1.0 - facing, 3.0);
  vec3 lit = color * (light + 0.25 * max(dot(n, BACK), 0.0)) * (1.0 - 0.35 * edge) + shine + 0.05 * edge;
  float alpha = mix(1.0, 0.05 + 0.45 * pow(1.0 - facing, 2.2), glass);
  seen = vec4(pow(lit, vec3(1.0 / 2.2)) * alpha, alpha);
}`;

const NUMBERED = `#version 300 es
precision highp float;
uniform vec3 color;
out vec4 seen;
void main() { seen = vec4(color, 1.0); }`;

function compiled(gl, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  const at = (name) => gl.getUniformLocation(program, name);
  return { program, toEye: at("toEye"), toPicture: at("toPicture"), color: at("color"), glass: at("glass") };
}

export const lit = (gl) => compiled(gl, LIT);
export const numbered = (gl) => compiled(gl, NUMBERED);
