/** What a visitor can save: the image with its layers, the mask, boxes and mask as COCO. */

import { encode } from "fast-png";

import type { Picture } from "../../images/picture.ts";
import type { Box } from "../../lib/boxes.ts";
import type { Bundle } from "../../lib/bundles.ts";
import { runLengths } from "../../lib/contours.ts";
import { drawLayers, type Mask, type Shown } from "./layers.ts";

const LINE = 250; // parts of the shorter side, as in dentalzoo's own overlays
const LETTERS = 45;

/** The picture as a browser draws it. */
export function asImageData({ width, height, channels, pixels }: Picture): ImageData {
  const data = new ImageData(width, height);
  const words = new Uint32Array(data.data.buffer);
  if (channels === 1) {
    for (let i = 0; i < words.length; i++) words[i] = 0xff000000 | (pixels[i] * 0x010101);
  } else {
    for (let i = 0, k = 0; i < words.length; i++, k += 3) {
      words[i] = 0xff000000 | (pixels[k + 2] << 16) | (pixels[k + 1] << 8) | pixels[k];
    }
  }
  return data;
}

/** The image at its own size with what is shown on it. */
export async function overlayPng(picture: Picture, shown: Shown): Promise<Blob> {
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("The overlay must fit in the browser's memory.");
  context.putImageData(asImageData(picture), 0, 0);
  const side = Math.min(width, height);
  const pen = { line: Math.max(1, Math.round(side / LINE)), letters: Math.max(9, Math.round(side / LETTERS)) };
  drawLayers(context, { ...shown, chosen: null }, picture, { scale: 1, x: 0, y: 0 }, pen);
  return canvas.convertToBlob({ type: "image/png" });
}

/** A grey PNG of 0 and 255, as `dentalzoo predict` writes it. */
export function maskPng({ pixels, width, height }: Mask): Blob {
  const data = pixels.map((value) => (value ? 255 : 0));
  const bytes = encode({ width, height, data, depth: 8, channels: 1 }) as Uint8Array<ArrayBuffer>;
  return new Blob([bytes], { type: "image/png" });
}

/** Boxes with the bundle that they come from. */
export interface BoxLayer {
  bundle: Bundle;
  boxes: Box[];
}

/** What was found as a COCO data set of one image: boxes with scores, the mask as run lengths. */
export function cocoJson(name: string, picture: Picture, mask: Mask, layers: BoxLayer[]): Blob {
  const { width, height } = picture;
  const categories: { id: number; name: string; supercategory: string }[] = [];
  const annotations: object[] = [];
  for (const { bundle, boxes } of layers) {
    const first = categories.length;
    for (const label of bundle.classes) {
      categories.push({ id: categories.length + 1, name: label, supercategory: bundle.id });
    }
    for (const { edges, label, score } of boxes) {
      const [top, left, bottom, right] = edges.map((edge, i) => edge * (i % 2 ? width : height));
      const bbox = [left, top, right - left, bottom - top].map((part) => Number(part.toFixed(3)));
      annotations.push({
        id: annotations.length + 1,
        image_id: 1,
        category_id: first + label,
        bbox,
        area: Number((bbox[2] * bbox[3]).toFixed(3)),
        iscrowd: 0,
        score: Number(score.toFixed(6)),
      });
    }
  }
  categories.push({ id: categories.length + 1, name: "teeth", supercategory: "mask" });
  if (mask.area) {
    annotations.push({
      id: annotations.length + 1,
      image_id: 1,
      category_id: categories.length,
      bbox: extentOf(mask),
      area: mask.area,
      iscrowd: 1,
      segmentation: { size: [height, width], counts: runLengths(mask.pixels, width, height) },
    });
  }
  const content = {
    info: { description: "Made by dentalzoo. Research only, not for diagnosis." },
    images: [{ id: 1, file_name: name, width, height }],
    categories,
    annotations,
  };
  return new Blob([JSON.stringify(content)], { type: "application/json" });
}

function extentOf({ pixels, width, height }: Mask): number[] {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!pixels[y * width + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = y + 1;
    }
  }
  return [left, top, right - left, bottom - top];
}
