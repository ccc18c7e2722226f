// The page: model, picture, sample or camera in; boxes and milliseconds out.

import {Detector, loadRuntime, Mistake} from './detector.js';

const COLORS = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7'];
const $ = (id) => document.getElementById(id);
const canvas = $('canvas'), pen = canvas.getContext('2d', {willReadFrequently: true});
const runtime = loadRuntime();
let detector = null, current = null, stream = null;

function say(text, mistake = false) {
  $('status').textContent = text;
  $('status').className = mistake ? 'mistake' : '';
}

/** Runs an action; whatever goes wrong is one sentence on the page. */
async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    say(error instanceof Mistake ? error.message : `It did not work: ${error.message ?? error}`, true);
  }
}

async function openModel(bytes, name) {
  await runtime;
  detector = await Detector.open(bytes);
  $('picture').parentElement.classList.remove('off');
  $('sample').disabled = $('camera').disabled = false;
  const {class_names: names, image_size: [height, width], best_score_threshold: best} = detector.about;
  $('score').value = best ?? 0.3;  // as detect() in Python
  $('least').textContent = Number($('score').value).toFixed(2);
  const doubt = detector.checked ? '' : ', not checked for damage (a page on https or localhost does)';
  say(`${name}: ${names.length} classes, input ${width} x ${height}${doubt}. Choose a picture.`);
  if (current) await show();
}

/** Draws a source into the canvas at its own size (cameras and photographs: at most 1280). */
function take(source, width, height) {
  const scale = Math.min(1, 1280 / Math.max(width, height));
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  pen.fillStyle = 'white';  // behind transparent parts
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  current = pen.getImageData(0, 0, canvas.width, canvas.height);
}

async function show() {
  const {found, milliseconds} = await detector.detect(current, Number($('score').value));
  pen.putImageData(current, 0, 0);
  const line = Math.max(2, Math.max(canvas.width, canvas.height) / 250);
  pen.lineWidth = line;
  pen.font = `${Math.max(12, Math.max(canvas.width, canvas.height) / 36)}px system-ui, sans-serif`;
  pen.textBaseline = 'bottom';
  for (const {name, label, score, box: [left, top, right, bottom]} of found) {
    pen.strokeStyle = pen.fillStyle = COLORS[label % COLORS.length];
    pen.strokeRect(left, top, right - left, bottom - top);
    const text = `${name} ${score.toFixed(2)}`, height = parseFloat(pen.font) * 1.2;
    const y = Math.max(height, top);
    pen.fillRect(left, y - height, pen.measureText(text).width + 4, height);
    pen.fillStyle = 'black';
    pen.fillText(text, left + 2, y);
  }
  say(`${found.length} object${found.length === 1 ? '' : 's'} in ${milliseconds.toFixed(1)} ms`);
  return {found, milliseconds, width: canvas.width, height: canvas.height};
}

async function openPicture(blob) {
  stopCamera();
  const picture = await createImageBitmap(blob, {imageOrientation: 'from-image'}).catch(() => {
    throw new Mistake('This file is not a picture that the browser can read.');
  });
  take(picture, picture.width, picture.height);
  return show();
}

/** A drawing, for a first look without a picture at hand. */
function drawSample() {
  stopCamera();
  const sample = new OffscreenCanvas(480, 360), draw = sample.getContext('2d');
  draw.fillStyle = '#ddd';
  draw.fillRect(0, 0, 480, 360);
  draw.font = '90px serif';
  ['3', '7', '0', '5', '\u{1F431}', '\u{1F697}'].forEach((text, i) => {
    draw.fillStyle = COLORS[i];
    draw.fillText(text, 40 + (i % 3) * 150, 130 + Math.floor(i / 3) * 150);
  });
  take(sample, 480, 360);
  return show();
}

async function toggleCamera() {
  if (stream) return stopCamera();
  if (!navigator.mediaDevices) {
    throw new Mistake('Cameras need a secure page: https, or localhost.');
  }
  stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment'}}).catch(() => {
    throw new Mistake('There is no camera, or it was not allowed.');
  });
  const video = document.createElement('video');
  Object.assign(video, {srcObject: stream, muted: true, playsInline: true});
  await video.play();
  $('camera').textContent = 'Stop';
  while (stream) {
    take(video, video.videoWidth, video.videoHeight);
    await show();
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $('camera').textContent = 'Camera';
}

$('model').onchange = ({target}) => target.files[0] && attempt(async () =>
  openModel(new Uint8Array(await target.files[0].arrayBuffer()), target.files[0].name));
$('picture').onchange = ({target}) => target.files[0] && attempt(() => openPicture(target.files[0]));
$('sample').onclick = () => attempt(drawSample);
$('camera').onclick = () => attempt(toggleCamera);
$('score').oninput = ({target}) => {
  $('least').textContent = Number(target.value).toFixed(2);
  if (current && detector && !stream) attempt(show);
};
runtime.catch((error) => say(error.message, true));

// For a page that brings its own files (?model=URL&picture=URL), and for tests.
export async function run(modelUrl, pictureUrl) {
  const [model, picture] = await Promise.all([modelUrl, pictureUrl].map(async (url) => {
    const answer = url && await fetch(url);
    if (answer && !answer.ok) throw new Mistake(`${url} could not be loaded (${answer.status}).`);
    return answer;
  }));
  await openModel(new Uint8Array(await model.arrayBuffer()), modelUrl);
  return picture && openPicture(await picture.blob());
}

const wanted = new URLSearchParams(location.search);
if (wanted.get('model')) {
  window.result = attempt(() => run(wanted.get('model'), wanted.get('picture')));
}
