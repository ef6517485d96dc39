/** Files of the page: from its cache where they are there, else from its server, once. */

import { CACHE } from "./protocol.ts";

const pending = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

/** Return the content of a file below the page, unpacked where it is compressed with gzip. */
export function contentOf(path: string): Promise<Uint8Array<ArrayBuffer>> {
  let promise = pending.get(path);
  if (!promise) {
    promise = load(path);
    pending.set(path, promise);
    promise.catch(() => {}).finally(() => pending.delete(path));
  }
  return promise;
}

/** Put files into the cache, one after the other; without a cache nothing is done. */
export async function fetchAll(paths: string[]): Promise<void> {
  if (!("caches" in self)) return;
  for (const path of paths) await responseOf(path);
}

async function load(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(await (await responseOf(path)).arrayBuffer());
  // A server may have unpacked it already
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? unpacked(bytes) : bytes;
}

async function responseOf(path: string): Promise<Response> {
  const url = new URL(path, self.location.href.replace(/assets\/[^/]*$/, ""));
  const cache = await openCache();
  const known = await cache?.match(url);
  if (known) return known;
  const response = await fetch(url, { credentials: "omit" });
  if (!response.ok) throw new Error(`${path} could not be loaded. Received: status ${response.status}`);
  await cache?.put(url, response.clone()).catch(() => {}); // a full disk is no reason to stop
  return response;
}

async function openCache(): Promise<Cache | null> {
  // A page of plain http has no cache
  return "caches" in self ? caches.open(CACHE).catch(() => null) : null;
}

async function unpacked(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
