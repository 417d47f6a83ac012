// The emotion network of npm's @vladmandic/human, asked over stdin; `benchmarks.inference_speed` starts it.
//
//     node human_emotion.mjs FOLDER FACES N THREADS     FOLDER: where @vladmandic/human is installed
//
// A line of JSON in, a line out, as benchmarks/rivals/mini_xception.py has it. The network is called as the package's
// src/gear/emotion.ts does: 64 x 64, gray, -1 to 1. The faces are resized outside the time measured.
// On @tensorflow/tfjs-node where it is installed, else on WebAssembly with SIMD.
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';
import { performance } from 'node:perf_hooks';

const [folder, file, count, threads] = [process.argv[2], process.argv[3], Number(process.argv[4]), Number(process.argv[5])];
const require = createRequire(path.join(path.resolve(folder), 'index.js'));
console.log = console.warn = console.info = () => {}; // stdout is for answers

const [tf, backend] = await (async () => {
  try {
    return [require('@tensorflow/tfjs-node'), 'tfjs-node'];
  } catch {
    const core = require('@tensorflow/tfjs-core');
    const wasm = require('@tensorflow/tfjs-backend-wasm');
    const { loadGraphModel } = require('@tensorflow/tfjs-converter');
    wasm.setWasmPaths(path.join(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), path.sep));
    if (threads > 1) wasm.setThreadsCount(threads);
    await core.setBackend('wasm');
    await core.ready();
    return [{ ...core, loadGraphModel }, 'WebAssembly'];
  }
})();

const models = path.join(path.resolve(folder), 'node_modules/@vladmandic/human/models');
const description = JSON.parse(fs.readFileSync(path.join(models, 'emotion.json'), 'utf8'));
const weights = fs.readFileSync(path.join(models, 'emotion.bin'));
const model = await tf.loadGraphModel({
  load: async () => ({
    modelTopology: description.modelTopology,
    weightSpecs: description.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength),
    userDefinedMetadata: description.userDefinedMetadata,
  }),
});

const crops = tf.tidy(() => { // as the package holds them, 0 to 1
  const faces = tf.tensor(new Float32Array(fs.readFileSync(file)), [count, 48, 48, 1]);
  return tf.div(tf.image.resizeBilinear(faces, [64, 64], false), 255).dataSync();
});
const size = 64 * 64;

const answer = async (from, to) => {
  const input = tf.tidy(() => tf.mul(tf.sub(tf.tensor(crops.subarray(from * size, to * size), [to - from, 64, 64, 1]), 0.5), 2));
  const output = model.execute(input);
  const probabilities = await output.data();
  tf.dispose([input, output]);
  return probabilities;
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const reply = { way: backend };
  if (request.emotions) {
    reply.emotions = [];
    for (let from = 0; from < count; from += 256) {
      const rows = await answer(from, Math.min(count, from + 256));
      for (let i = 0; i < rows.length; i += 7) {
        const row = Array.from(rows.subarray(i, i + 7));
        reply.emotions.push(row.indexOf(Math.max(...row)));
      }
    }
  } else {
    reply.seconds = [];
    await answer(0, request.batch);
    for (let i = 0; i < request.calls; i++) {
      const began = performance.now();
      await answer(0, request.batch);
      reply.seconds.push((performance.now() - began) / 1000);
    }
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
process.exit(0);
