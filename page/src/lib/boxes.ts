/** The boxes of a bundle, as `dentalzoo predict` keeps them. */

import type { Bundle } from "./bundles.ts";
import type { Values } from "./protocol.ts";

const SAME_TOOTH = 0.6; // IoU; see dentalzoo/tasks/postprocessing.py

export interface Box {
  /** Top, left, bottom, right in [0, 1] of the image. */
  edges: [number, number, number, number];
  score: number;
  /** From 1. */
  label: number;
  name: string;
}

/** Return the boxes of `detect`, the best first; of FDI numbers one for each tooth, in their order. */
export function boxesOf(results: Record<string, Values>, bundle: Bundle): Box[] {
  const count = Number(results.num.data[0]);
  const boxes: Box[] = [];
  for (let i = 0; i < count; i++) {
    const [top, left, bottom, right] = [0, 1, 2, 3].map((k) => Number(results.boxes.data[4 * i + k]));
    const label = Number(results.classes.data[i]);
    const name = bundle.classes[label - 1] ?? `${label}`;
    boxes.push({ edges: [top, left, bottom, right], score: Number(results.scores.data[i]), label, name });
  }
  boxes.sort((a, b) => b.score - a.score);
  return bundle.teeth ? onePerTooth(boxes) : boxes;
}

/** Keep the best box of each place and number, in the order 11..18, 21..28, ... */
function onePerTooth(boxes: Box[]): Box[] {
  const places: Box[] = [];
  for (const box of boxes) {
    if (places.every((other) => iou(box, other) <= SAME_TOOTH)) places.push(box);
  }
  const numbers = new Map<string, Box>();
  for (const box of places) if (!numbers.has(box.name)) numbers.set(box.name, box);
  return [...numbers.values()].sort((a, b) => Number(a.name) - Number(b.name));
}

function iou(a: Box, b: Box): number {
  const area = ([top, left, bottom, right]: Box["edges"]) => Math.max(bottom - top, 0) * Math.max(right - left, 0);
  const top = Math.max(a.edges[0], b.edges[0]);
  const left = Math.max(a.edges[1], b.edges[1]);
  const bottom = Math.min(a.edges[2], b.edges[2]);
  const right = Math.min(a.edges[3], b.edges[3]);
  const inside = area([top, left, bottom, right]);
  const union = area(a.edges) + area(b.edges) - inside;
  return union > 0 ? inside / union : 0;
}
