/** JPEG files, with the browser's decoder: upright, and without its colour management. */

import { BadFile, checkSize, type Picture } from "./picture.ts";

/** Markers of frame headers, ITU-T T.81 table B.1. */
const isFrame = (marker: number) =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

export async function readJpeg(bytes: Uint8Array<ArrayBuffer>): Promise<Picture> {
  const components = checkFrame(bytes);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }), {
      colorSpaceConversion: "none",
    });
  } catch {
    throw new BadFile("Damaged JPEG, or of a kind that browsers do not read; save it again as PNG.");
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new BadFile("The image must fit in memory; make it smaller.");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const channels = components === 1 ? 1 : 3;
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    for (let c = 0; c < channels; c++) pixels[to++] = rgba[from + c];
  }
  return { width, height, channels, pixels, notes: [] };
}

/** Check the size before anything is decoded, and the end; return the number of components. */
function checkFrame(bytes: Uint8Array): number {
  for (let at = 2; at + 10 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    if (isFrame(marker)) {
      checkSize((bytes[at + 7] << 8) | bytes[at + 8], (bytes[at + 5] << 8) | bytes[at + 6]);
      checkEnd(bytes);
      return bytes[at + 9];
    }
    at += marker === 0xff ? 1 : 2 + length;
  }
  throw new BadFile("Damaged JPEG; save it again. Received: a file without a frame");
}

function checkEnd(bytes: Uint8Array): void {
  for (let at = bytes.length - 2; at > 1; at--) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return;
  }
  throw new BadFile("Damaged JPEG; copy it again. Received: a file that ends before its end");
}
