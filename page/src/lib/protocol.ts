/** What the page asks of its worker, and what it gets. */

import type { Picture } from "../images/picture.ts";

/** A tensor that can be sent between threads. */
export interface Values {
  type: "uint8" | "float32" | "int32" | "int64";
  dims: number[];
  data: Uint8Array | Float32Array | Int32Array | BigInt64Array;
}

export type Request =
  | { kind: "read"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "start"; runtime: string; weights: Record<string, string>; first: string }
  | { kind: "run"; file: string; inputs: Record<string, Values> }
  | { kind: "free"; file: string }
  | { kind: "normals"; points: Float32Array }
  | { kind: "fetch"; files: string[] };

export interface Replies {
  read: Picture;
  start: null;
  run: Record<string, Values>;
  free: null;
  normals: Float32Array;
  fetch: null;
}

export type Message = { id: number; request: Request };
export type Answer =
  | { id: number; value: Replies[keyof Replies] }
  | { id: number; problem: string; isFile: boolean };

/** The page's cache, which the service worker reads and clears of what is old. */
export const CACHE = "dentalzoo-page";
