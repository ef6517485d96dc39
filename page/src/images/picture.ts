/** Pixels of an image, and the error of a file that is none. */

/** An upright image as the bundles take it: 8-bit samples, row by row, grey or RGB. */
export interface Picture {
  width: number;
  height: number;
  channels: 1 | 3;
  /** width * height * channels samples of 0 to 255. */
  pixels: Uint8Array;
  /** What was ignored or assumed when the file was read, for the reader of the page. */
  notes: string[];
}

/** The largest image that is opened, in pixels: what a phone's browser has memory for. */
export const MAX_PIXELS = 50_000_000;

/** A file that cannot be used; the message is one line: what is expected, what came. */
export class BadFile extends Error {}

export function checkSize(width: number, height: number): void {
  if (width < 1 || height < 1) {
    throw new BadFile(`The image must have pixels. Received: ${width} x ${height}`);
  }
  if (width * height > MAX_PIXELS) {
    throw new BadFile(
      `The image must have at most ${MAX_PIXELS / 1e6} million pixels; make it smaller. ` +
        `Received: ${width} x ${height} (width x height)`,
    );
  }
}
