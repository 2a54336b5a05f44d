// Makes a NIfTI file anew before it leaves the browser: voxels, geometry, type and scaling, and nothing else.
//
// Fields of the header that are not listed here become zero (nifti1.h, nifti2.h: descrip, aux_file, db_name,
// intent_name and the others). Dropped are extensions, which may hold a whole DICOM header, whatever else stands
// between header and voxels or behind them, and the name and time that gzip keeps. The file is never held whole.

const KINDS = { 348: nifti1(), 540: nifti2() }; // by the size of the header
const LONGEST_GAP = 64 * 1024 * 1024; // an extension that long is none that we step over

function nifti1() {
  return {
    magic: 344, whole: 352, dim: 40, dims: (view, at, little) => view.getInt16(at, little), step: 2, bitpix: 72,
    offset: (view, little) => view.getFloat32(108, little),
    begin: (view, little) => view.setFloat32(108, 352, little),
    // sizeof_hdr; dim; datatype, bitpix; pixdim; scl_*; xyzt_units; qform to srow_z; magic
    kept: [[0, 4], [40, 56], [70, 74], [76, 108], [112, 120], [123, 124], [252, 328], [344, 348]],
  };
}

function nifti2() {
  const big = (view, at, little) => Number(view.getBigInt64(at, little));
  return {
    magic: 4, whole: 544, dim: 16, dims: big, step: 8, bitpix: 14,
    offset: (view, little) => big(view, 168, little),
    begin: (view, little) => view.setBigInt64(168, 544n, little),
    // sizeof_hdr to dim; pixdim; scl_*; qform to srow_z; xyzt_units
    kept: [[0, 80], [104, 168], [176, 192], [344, 496], [500, 504]],
  };
}

// Gives a compressed file (.nii.gz) with the same image; throws a sentence where it is no NIfTI of one file.
export async function cleaned(file) {
  const start = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const isPacked = start[0] === 0x1f && start[1] === 0x8b;
  const plain = isPacked ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  let why = "This file is damaged: it cannot be unpacked.";
  const packed = plain.pipeThrough(anew((error) => { why = error.message; })).pipeThrough(new CompressionStream("gzip"));
  try {
    return await new Response(packed).blob();
  } catch { // of the error itself little is left at the end of the streams
    throw new Error(why);
  }
}

// A stream that begins with a header of ours, steps over what lies before the voxels, and ends with the last one.
function anew(onError) {
  let begun = new Uint8Array(0);
  let skip = 0;
  let left = -1; // bytes of voxels still to come; -1: the header is not whole yet
  return new TransformStream({ transform: told(take), flush: told(end) });

  function told(step) {
    return (...given) => {
      try {
        step(...given);
      } catch (error) {
        onError(error);
        throw error;
      }
    };
  }

  function take(chunk, out) {
    let rest = chunk;
    if (left < 0) {
      begun = joined(begun, chunk);
      if (begun.length < 544) return; // whole in either kind, but for an image of a few voxels
      rest = open(out);
    }
    pass(rest, out);
  }

  function end(out) {
    if (left < 0) pass(open(out), out);
    if (left > 0 || skip > 0) throw new Error("This file ends before its last voxel.");
  }

  function open(out) {
    const made = header(begun);
    out.enqueue(made.bytes);
    skip = made.skip;
    left = made.voxels;
    return begun.subarray(made.read);
  }

  function pass(chunk, out) {
    const over = Math.min(skip, chunk.length);
    const part = chunk.subarray(over, Math.min(chunk.length, over + left));
    skip -= over;
    left -= part.length;
    if (part.length) out.enqueue(part);
  }
}

function header(begun) {
  const { kind, little } = recognised(begun);
  const given = new DataView(begun.buffer, begun.byteOffset, kind.whole);
  const offset = kind.offset(given, little);
  const isPlace = Number.isInteger(offset) && offset >= kind.whole && offset <= LONGEST_GAP;
  if (!isPlace) throw new Error("This file does not say where its voxels are.");
  const bytes = new Uint8Array(kind.whole); // the last four: no extensions follow
  for (const [from, to] of kind.kept) bytes.set(begun.subarray(from, to), from);
  kind.begin(new DataView(bytes.buffer), little);
  return { bytes, read: kind.whole, skip: offset - kind.whole, voxels: sizeOf(given, kind, little) };
}

function recognised(begun) {
  for (const [size, kind] of Object.entries(KINDS)) {
    if (begun.length < kind.whole) continue;
    const view = new DataView(begun.buffer, begun.byteOffset, begun.length);
    const little = view.getInt32(0, true) === Number(size);
    const magic = String.fromCharCode(...begun.subarray(kind.magic, kind.magic + 3));
    if ((little || view.getInt32(0, false) === Number(size)) && magic.startsWith("n+")) return { kind, little };
  }
  throw new Error("This is no NIfTI image of one file (.nii or .nii.gz).");
}

function sizeOf(view, kind, little) {
  const axes = kind.dims(view, kind.dim, little);
  if (!(axes >= 1 && axes <= 7)) throw new Error("This file does not say how many voxels it has.");
  let bits = view.getInt16(kind.bitpix, little);
  for (let axis = 1; axis <= axes; axis += 1) bits *= kind.dims(view, kind.dim + axis * kind.step, little);
  if (!(bits > 0)) throw new Error("This file has no voxels.");
  return bits / 8;
}

function joined(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
