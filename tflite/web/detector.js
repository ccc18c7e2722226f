// Runs a .tflite file of keras_detblocks in JavaScript: reads its description, fits pictures into its
// input, and returns detections in the pictures' own pixels. Needs only LiteRT.js.

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

export class Mistake extends Error {}

const ABOUT = 'keras_detblocks.json';
const NO_DETECTOR = 'This is not a detector that keras_detblocks exported: choose its .tflite file.';
const DAMAGED = 'This file is damaged: copy it again, or export the detector anew.';

/** Loads the runtime once. `folder` is where @litertjs/core keeps its WebAssembly files. */
export async function loadRuntime(folder = './node_modules/@litertjs/core/wasm/') {
  if (typeof WebAssembly !== 'object') {
    throw new Mistake('This browser has no WebAssembly, which the detector needs: try a newer one.');
  }
  await loadLiteRt(folder);
}

export class Detector {
  /** @param {Uint8Array} bytes of the file */
  static async open(bytes) {
    const {model, about} = parts(bytes);
    const checked = await check(model, about);
    return new Detector(about, await loadAndCompile(bytes, {accelerator: 'wasm'}), checked);
  }

  /** `checked`: whether the file was compared with its checksum. */
  constructor(about, model, checked = false) {
    Object.assign(this, {about, model, checked});
    const input = model.getInputDetails()[0];
    this.Numbers = input.dtype === 'uint8' ? Uint8Array : Float32Array;
  }

  /** Objects in `pixels` (an ImageData, or the like): `{found: [{name, label, score, box}], milliseconds}`. */
  async detect(pixels, leastScore = 0.4) {
    const {image_size: size, letterbox, resize} = this.about;
    const fitted = fit(pixels, size, letterbox.fill, resize === 'stretch');
    const input = new Tensor(this.Numbers.from(fitted.canvas), [1, ...size, 3]);
    const start = performance.now();
    const outputs = await this.model.run({image: input});
    const arrays = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      arrays[name] = tensor.toTypedArray();
    }
    const milliseconds = performance.now() - start;
    const found = this.objects(arrays)
      .filter((each) => each.score >= leastScore)
      .map((each) => ({
        ...each,
        name: this.about.class_names[each.label],
        box: each.box.map((side, i) =>
          Math.min(Math.max(side / fitted.factors[i % 2], 0), i % 2 ? pixels.height : pixels.width)),
      }));
    for (const tensor of [input, ...Object.values(outputs)]) tensor.delete();
    return {found, milliseconds};
  }

  /** Objects in the pixels of the input, from any of the three forms of a file's outputs. */
  objects(arrays) {
    const [height, width] = this.about.image_size;
    if (arrays.locations) {
      return Array.from({length: Math.round(arrays.number[0])}, (_, i) => ({
        label: Math.round(arrays.classes[i]),
        score: arrays.scores[i],
        box: [1, 0, 3, 2].map((k) => arrays.locations[4 * i + k] * (k % 2 ? width : height)),
      }));
    }
    if (arrays.boxes) {
      return Array.from({length: Number(arrays.count[0])}, (_, i) => ({
        label: Number(arrays.labels[i]),
        score: arrays.scores[i],
        box: Array.from(arrays.boxes.slice(4 * i, 4 * i + 4)),
      }));
    }
    return suppressed(candidates(arrays, this.about), this.about);
  }
}

/** The file's own description, from the zip archive at its end. */
export function readAbout(bytes) {
  return parts(bytes).about;
}

/** `{model, about}`: the bytes before the archive, whose checksum is `about.sha256`, and the description. */
function parts(bytes) {
  const text = new TextDecoder();
  if (text.decode(bytes.subarray(4, 8)) !== 'TFL3') throw new Mistake(NO_DETECTOR);
  try {
    const files = archive(bytes);
    if (files.some((each) => crc32(each.content) !== each.crc)) throw new Mistake(DAMAGED);
    const about = files.find((each) => each.name === ABOUT);
    if (about) {
      const first = Math.min(...files.map((each) => each.start));
      return {model: bytes.subarray(0, first), about: JSON.parse(text.decode(about.content))};
    }
  } catch (error) {  // a RangeError or a SyntaxError of flipped bits
    throw error instanceof Mistake ? error : new Mistake(DAMAGED);
  }
  const cut = text.decode(bytes.subarray(-65536)).includes(ABOUT);  // the archive ends with its list
  throw new Mistake(cut ? DAMAGED : NO_DETECTOR);
}

/** The files of the archive, which are stored, not compressed: `[{name, content, crc, start}]`. */
function archive(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), files = [];
  let end = bytes.length - 22;
  while (end > 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  let entry = end > 0 ? view.getUint32(end + 16, true) : -1;
  for (let n = end > 0 ? view.getUint16(end + 10, true) : 0; n > 0; n--) {
    const nameLength = view.getUint16(entry + 28, true), start = view.getUint32(entry + 42, true);
    const from = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
    files.push({
      name: new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + nameLength)),
      content: bytes.subarray(from, from + view.getUint32(entry + 24, true)),
      crc: view.getUint32(entry + 16, true),
      start,
    });
    entry += 46 + nameLength + view.getUint16(entry + 30, true) + view.getUint16(entry + 32, true);
  }
  return files;
}

function crc32(bytes) {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

/** Compares the model with its checksum; whether the browser could: it does on https and localhost alone. */
async function check(model, about) {
  if (!globalThis.crypto?.subtle) return false;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', model));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== (about.sha256 ?? (about.version === 1 ? found : ''))) throw new Mistake(DAMAGED);
  return true;
}

/** A picture fitted into the input as in training: RGB bytes and the factors of x and y. */
export function fit(pixels, [height, width], fill, stretch) {
  const scales = [height / pixels.height, width / pixels.width];
  const [down, across] = stretch ? scales : Array(2).fill(Math.min(...scales));
  const size = [
    Math.max(1, Math.min(height, roundHalfEven(pixels.height * down))),
    Math.max(1, Math.min(width, roundHalfEven(pixels.width * across))),
  ];
  const small = resample(rgb(pixels), pixels.height, pixels.width, ...size);
  const canvas = new Uint8Array(height * width * 3).fill(fill);
  for (let y = 0; y < size[0]; y++) {
    canvas.set(small.subarray(3 * y * size[1], 3 * (y + 1) * size[1]), 3 * y * width);
  }
  return {canvas, factors: [size[1] / pixels.width, size[0] / pixels.height]};
}

function roundHalfEven(x) {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
}

function rgb({data, width, height}) {
  const bytes = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) bytes[3 * i + c] = data[4 * i + c];
  }
  return bytes;
}

// A triangle as wide as the reduction, rows first, then columns, bytes in between: the filter that
// Pillow calls BILINEAR. A canvas' own smoothing differs between browsers.
function resample(bytes, height, width, newHeight, newWidth) {
  const rows = alongRows(bytes, height, width, newWidth);
  const turned = alongRows(turn(rows, height, newWidth), newWidth, height, newHeight);
  return turn(turned, newWidth, newHeight);
}

function turn(bytes, height, width) {
  const turned = new Uint8Array(bytes.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) turned[3 * (x * height + y) + c] = bytes[3 * (y * width + x) + c];
    }
  }
  return turned;
}

function alongRows(bytes, height, width, newWidth) {
  if (width === newWidth) return bytes;
  const out = new Uint8Array(height * newWidth * 3);
  const scale = width / newWidth, reach = Math.max(scale, 1);
  for (let x = 0; x < newWidth; x++) {
    const center = (x + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - reach + 0.5));
    const last = Math.min(width, Math.floor(center + reach + 0.5));
    const weights = [];
    for (let i = first; i < last; i++) {
      weights.push(Math.max(0, 1 - Math.abs((i - center + 0.5) / reach)));
    }
    const total = weights.reduce((a, b) => a + b, 0);
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let i = first; i < last; i++) sum += bytes[3 * (y * width + i) + c] * weights[i - first];
        out[3 * (y * newWidth + x) + c] = Math.floor(sum / total + 0.5);
      }
    }
  }
  return out;
}

// For files without decoding: a point is the center of a cell, and its distances to the sides of the
// box are in strides.
function candidates(arrays, about) {
  const [height, width] = about.image_size, found = [], classes = about.class_names.length;
  for (const {logits, distances, level} of about.levels) {
    const grid = cells(arrays[logits].length / classes, about.image_size, 2 ** level);
    for (let i = 0; i < grid.rows * grid.columns; i++) {
      const x = ((i % grid.columns) + 0.5) * grid.across;
      const y = (Math.floor(i / grid.columns) + 0.5) * grid.down;
      const d = Array.from(arrays[distances].slice(4 * i, 4 * i + 4), (v) => Math.max(v, 0));
      const box = [x - d[0] * grid.across, y - d[1] * grid.down, x + d[2] * grid.across, y + d[3] * grid.down]
        .map((side, k) => Math.min(Math.max(side, 0), k % 2 ? height : width));
      for (let label = 0; label < classes; label++) {
        const score = 1 / (1 + Math.exp(-arrays[logits][classes * i + label]));
        if (score > about.score_threshold) found.push({label, score, box});
      }
    }
  }
  return found.sort((a, b) => b.score - a.score).slice(0, Math.max(512, 5 * about.max_detections));
}

function cells(count, [height, width], stride) {
  const rows = Math.ceil(height / stride), columns = Math.ceil(width / stride);
  if (rows * columns !== count) {
    throw new Mistake('This file has maps of an unusual size: export it with decoding.');
  }
  return {rows, columns, down: stride, across: stride};
}

function suppressed(found, about) {
  const kept = [];
  for (const each of found) {
    const rivals = kept.filter((other) => about.class_agnostic || other.label === each.label);
    if (rivals.every((other) => overlap(each.box, other.box) <= about.iou_threshold)) kept.push(each);
    if (kept.length === about.max_detections) break;
  }
  return kept;
}

function overlap(a, b) {
  const sides = [0, 1].map((i) => Math.max(0, Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i])));
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  const both = sides[0] * sides[1];
  return both / Math.max(area(a) + area(b) - both, 1e-9);
}
