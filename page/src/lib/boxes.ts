/** The boxes of a bundle, as `dentalzoo predict` keeps them. */

import { linearSumAssignment } from "linear-sum-assignment";

import type { Bundle } from "./bundles.ts";
import type { Values } from "./protocol.ts";

// See dentalzoo/tasks/postprocessing.py.
const SAME_TOOTH = 0.5; // IoU above which two boxes are of one tooth
const NO_EVIDENCE = 0.01; // a score up to this says nothing of a number

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

/** Give each tooth one number and each number to one tooth, in the order 11..18, 21..28, ... */
export function onePerTooth(boxes: Box[]): Box[] {
  const teeth: Box[] = [];
  for (const box of boxes) {
    if (teeth.every((other) => iou(box, other) <= SAME_TOOTH)) teeth.push(box);
  }
  const columns = [...new Set(boxes.map((box) => box.name))].sort((a, b) => Number(a) - Number(b));
  const best: (Box | undefined)[][] = teeth.map(() => []);
  for (const box of boxes) {
    const overlaps = teeth.map((other) => iou(box, other));
    best[overlaps.indexOf(Math.max(...overlaps))][columns.indexOf(box.name)] ??= box;
  }
  if (!teeth.length) return [];
  const weight = (box?: Box) => Math.log(Math.max(box?.score ?? 0, NO_EVIDENCE) / NO_EVIDENCE);
  const weights = teeth.map((_, tooth) => columns.map((_, column) => weight(best[tooth][column])));
  const { rowAssignments } = linearSumAssignment(weights, { maximaze: true });
  return columns.flatMap((_, column) => {
    const tooth = rowAssignments.indexOf(column);
    const box = tooth < 0 ? undefined : best[tooth][column];
    return box && weight(box) > 0 ? [box] : [];
  });
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
