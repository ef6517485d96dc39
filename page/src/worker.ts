/** The worker: reads images and applies the bundles, so that the page never stands still. */

import { InferenceSession, Tensor, env } from "onnxruntime-web/wasm";

import { BadFile } from "./images/picture.ts";
import { readPicture } from "./images/read.ts";
import { pointNormals } from "./lib/normals.ts";
import type { Answer, Message, Replies, Request, Values } from "./lib/protocol.ts";
import { contentOf, fetchAll } from "./lib/store.ts";

const sessions = new Map<string, Promise<InferenceSession>>();
let runtime = "";
let weights: Record<string, string> = {};
let started: Promise<void> | undefined;
let queue: Promise<unknown> = Promise.resolve(); // ONNX Runtime computes one call at a time

async function start(file: string): Promise<void> {
  env.wasm.numThreads = 1; // more need headers that plain web servers do not send
  env.wasm.wasmBinary = (await contentOf(file)).buffer;
}

async function session(file: string): Promise<InferenceSession> {
  let promise = sessions.get(file);
  if (!promise) {
    started ??= start(runtime);
    started.catch(() => (started = undefined)); // the next call tries again
    promise = Promise.all([contentOf(file), sharedBy(file), started]).then(([bytes, externalData]) =>
      InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3, externalData }),
    );
    sessions.set(file, promise);
    promise.catch(() => sessions.delete(file));
  }
  return promise;
}

/** The weights that a function shares with others, under the name by which its file knows them. */
async function sharedBy(file: string): Promise<{ path: string; data: Uint8Array }[]> {
  const path = weights[file];
  return path ? [{ path: "weights.bin", data: await contentOf(path) }] : [];
}

async function run(file: string, inputs: Record<string, Values>): Promise<Record<string, Values>> {
  const feeds: Record<string, Tensor> = {};
  for (const [name, { type, dims, data }] of Object.entries(inputs)) {
    feeds[name] = new Tensor(type, data as never, dims);
  }
  const results = await (await session(file)).run(feeds);
  const values: Record<string, Values> = {};
  for (const [name, tensor] of Object.entries(results)) {
    // A copy: the result itself lies in the memory of ONNX Runtime
    values[name] = { type: tensor.type, dims: [...tensor.dims], data: tensor.data.slice() } as Values;
    tensor.dispose();
  }
  return values;
}

async function free(file: string): Promise<null> {
  const known = sessions.get(file);
  sessions.delete(file);
  await (await known)?.release();
  return null;
}

async function answer(request: Request): Promise<Replies[keyof Replies]> {
  switch (request.kind) {
    case "read":
      return readPicture(request.bytes);
    case "start":
      ({ runtime, weights } = request);
      session(request.first).catch(() => {}); // who calls it is told
      return null;
    case "run":
      return run(request.file, request.inputs);
    case "free":
      return free(request.file);
    case "normals":
      return pointNormals(request.points);
    case "fetch":
      await fetchAll(request.files);
      return null;
  }
}

function problemOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (typeof error === "number" || /memory|bad_alloc|Array buffer allocation/i.test(text)) {
    return "The image must fit in the browser's memory; make it smaller.";
  }
  return text.split("\n")[0].slice(0, 300);
}

self.onmessage = ({ data: { id, request } }: MessageEvent<Message>) => {
  const done = async () => {
    let reply: Answer;
    try {
      reply = { id, value: await answer(request) };
    } catch (error) {
      reply = { id, problem: problemOf(error), isFile: error instanceof BadFile };
    }
    self.postMessage(reply);
  };
  if (request.kind === "fetch") void done(); // beside the others
  else queue = queue.then(done);
};
