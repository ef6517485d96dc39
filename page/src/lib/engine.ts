/** The worker as functions. */

import { BadFile } from "../images/picture.ts";
import type { Picture } from "../images/picture.ts";
import type { Answer, Message, Replies, Request, Values } from "./protocol.ts";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

export class Engine {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;

  /**
   * @param runtime the path of ONNX Runtime below the page.
   * @param weights the file of weights of each function that shares them with others.
   * @param first the function that will be called first; it is loaded at once.
   */
  constructor(runtime: string, weights: Record<string, string>, first: string) {
    this.worker = new Worker(new URL("../worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const promise = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if ("value" in data) promise?.resolve(data.value as never);
      else promise?.reject(data.isFile ? new BadFile(data.problem) : new Error(data.problem));
    };
    this.worker.onerror = () => {
      const error = new Error("The computation ended before its time; open the page again.");
      for (const promise of this.waiting.values()) promise.reject(error);
      this.waiting.clear();
    };
    void this.ask({ kind: "start", runtime, weights, first });
  }

  /** Read an image file, see `readPicture`. */
  read(bytes: Uint8Array<ArrayBuffer>): Promise<Picture> {
    return this.ask({ kind: "read", bytes }, [bytes.buffer]);
  }

  /** Call a function of a bundle; it is loaded on the first call. */
  run(file: string, inputs: Record<string, Values>): Promise<Record<string, Values>> {
    return this.ask({ kind: "run", file, inputs });
  }

  /** Release the memory of a function. */
  free(file: string): Promise<null> {
    return this.ask({ kind: "free", file });
  }

  /** The normals of the surface under points, (N, 3). */
  normals(points: Float32Array): Promise<Float32Array> {
    return this.ask({ kind: "normals", points });
  }

  /** Put files into the cache, so that they are there without a network. */
  fetch(files: string[]): Promise<null> {
    return this.ask({ kind: "fetch", files });
  }

  private ask<R extends Request>(request: R, transfer: Transferable[] = []): Promise<Replies[R["kind"]]> {
    const message: Message = { id: ++this.count, request };
    return new Promise((resolve, reject) => {
      this.waiting.set(message.id, { resolve: resolve as (value: never) => void, reject });
      this.worker.postMessage(message, transfer);
    });
  }
}

/** An image as the bundles take it: uint8 (1, H, W, channels). */
export function asInput(picture: Picture): Values {
  const { height, width, channels, pixels } = picture;
  return { type: "uint8", dims: [1, height, width, channels], data: pixels };
}
