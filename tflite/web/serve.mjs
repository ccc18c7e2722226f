// Serves this folder: node serve.mjs [port] [folder of models and pictures, as /files/]
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json',
  '.wasm': 'application/wasm', '.png': 'image/png', '.jpg': 'image/jpeg',
};
const here = path.dirname(new URL(import.meta.url).pathname);
const files = process.argv[3] && path.resolve(process.argv[3]);

function find(url) {
  const name = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  const [root, rest] = files && name.startsWith('/files/') ? [files, name.slice(7)] : [here, name];
  const file = path.join(root, rest.endsWith('/') ? `${rest}index.html` : rest);
  return file.startsWith(root + path.sep) && fs.statSync(file, {throwIfNoEntry: false})?.isFile() && file;
}

const server = http.createServer((request, response) => {
  const file = find(request.url);
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, {'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream'});
  fs.createReadStream(file).pipe(response);
});
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${server.address().port}/`));
