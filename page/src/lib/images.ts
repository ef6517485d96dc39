/** Images of the other tabs: small samples in, small results out. */

import type { Values } from "./protocol.ts";

/** Draw an image of values in [0, 1], (..., H, W, C), into a canvas of any size. */
export function drawValues(canvas: HTMLCanvasElement, { data, dims }: Values, index = 0): void {
  const [height, width, channels] = dims.slice(-3);
  const image = new ImageData(width, height);
  const start = index * height * width * channels;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = Number(data[start + i * channels + (channels === 1 ? 0 : c)]);
      image.data[4 * i + c] = Math.min(Math.max(value, 0), 1) * 255 + 0.5;
    }
    image.data[4 * i + 3] = 255;
  }
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d")?.putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** The canvas as a PNG. */
export function pngOf(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The image could not be saved."))));
  });
}

/** Run `work` now, or once more when it is done, however often it is asked for meanwhile. */
export function latest(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let again = false;
  return async function ask(): Promise<void> {
    if (running) {
      again = true;
      return running;
    }
    running = work();
    try {
      await running;
    } finally {
      running = null;
    }
    if (again) {
      again = false;
      await ask();
    }
  };
}
