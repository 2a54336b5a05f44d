// Reads the GLB files that the gateway writes (glTF 2.0): a root node that turns, and below it a node, mesh and
// material for each structure.

const VIEWS = { 5126: Float32Array, 5125: Uint32Array };
const SIZES = { SCALAR: 1, VEC3: 3 };

export function readGlb(content) {
  const words = new DataView(content);
  if (words.getUint32(0, true) !== 0x46546c67) throw new Error("This is no GLB file.");
  const length = words.getUint32(12, true);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 20, length)));
  const start = 20 + length + 8;
  const values = (number) => {
    const accessor = told.accessors[number];
    const view = told.bufferViews[accessor.bufferView];
    return new VIEWS[accessor.componentType](content, start + view.byteOffset, accessor.count * SIZES[accessor.type]);
  };
  const root = told.nodes[told.scenes[0].nodes[0]];
  return {
    matrix: root.matrix,
    structures: root.children.map((child) => {
      const node = told.nodes[child];
      const [mesh] = told.meshes[node.mesh].primitives;
      const reach = told.accessors[mesh.attributes.POSITION];
      return {
        name: node.name,
        title: node.extras.title,
        color: told.materials[mesh.material].pbrMetallicRoughness.baseColorFactor.slice(0, 3), // linear
        points: values(mesh.attributes.POSITION),
        normals: values(mesh.attributes.NORMAL),
        triangles: values(mesh.indices),
        min: reach.min,
        max: reach.max,
      };
    }),
  };
}
