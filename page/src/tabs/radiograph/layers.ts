/** What lies on a radiograph, and how it is drawn: on the page and in the saved image alike. */

import type { Box } from "../../lib/boxes.ts";
import { outlines, pathOf } from "../../lib/contours.ts";
import type { View } from "../../lib/viewport.ts";

/** Okabe & Ito's colours, which colour-blind people can tell apart. */
const TEETH = "#56b4e9";
const CLASSES = ["#e69f00", "#f0e442", "#cc79a7", "#009e73", "#d55e00", "#0072b2"];

export const colourOf = (box: Box) => CLASSES[(box.label - 1) % CLASSES.length];

/** A mask at the image's size, with its outlines. */
export class Mask {
  readonly path: Path2D;
  readonly area: number;

  constructor(
    readonly pixels: Uint8Array,
    readonly width: number,
    readonly height: number,
  ) {
    this.path = pathOf(outlines(pixels, width, height));
    this.area = pixels.reduce((total, value) => total + +(value !== 0), 0);
  }
}

/** What is shown. */
export interface Shown {
  mask: Mask | null;
  opacity: number;
  numbers: Box[];
  findings: Box[];
  /** Of the findings, the one that the visitor points at. */
  chosen: Box | null;
}

/** Sizes in pixels of the canvas. */
export interface Pen {
  line: number;
  letters: number;
  /** Leave the scores out, for which there is no room. */
  brief?: boolean;
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/**
 * Draw the layers.
 *
 * @param size of the image in pixels.
 * @param view from its pixels to those of the canvas.
 */
export function drawLayers(
  context: Context,
  shown: Shown,
  size: { width: number; height: number },
  view: View,
  pen: Pen,
): void {
  const place = ({ edges: [top, left, bottom, right] }: Box) => ({
    left: left * size.width * view.scale + view.x,
    top: top * size.height * view.scale + view.y,
    right: right * size.width * view.scale + view.x,
    bottom: bottom * size.height * view.scale + view.y,
  });
  context.save();
  context.lineJoin = "round";
  if (shown.mask) drawMask(context, shown.mask, shown.opacity, view, pen.line);
  context.font = `600 ${pen.letters}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const box of shown.findings) {
    const { left, top, right, bottom } = place(box);
    context.lineWidth = (box === shown.chosen ? 2.5 : 1.4) * pen.line;
    context.strokeStyle = colourOf(box);
    context.strokeRect(left, top, right - left, bottom - top);
  }
  const taken: Area[] = [];
  for (const box of shown.findings) drawName(context, box, place(box), view.y, pen, taken);
  context.textAlign = "center";
  for (const box of shown.numbers) {
    const { left, top, right, bottom } = place(box);
    drawNumber(context, box.name, (left + right) / 2, (top + bottom) / 2, pen);
  }
  context.restore();
}

function drawMask(context: Context, mask: Mask, opacity: number, view: View, line: number): void {
  context.setTransform(view.scale, 0, 0, view.scale, view.x, view.y);
  context.fillStyle = context.strokeStyle = TEETH;
  context.globalAlpha = opacity;
  context.fill(mask.path, "evenodd");
  context.globalAlpha = 1;
  context.lineWidth = line / view.scale;
  context.stroke(mask.path);
  context.setTransform(1, 0, 0, 1, 0, 0);
}

/** Left, top, right, bottom in pixels of the canvas. */
type Area = [number, number, number, number];

/** Draw name and score above a box, else below or inside, where they cover no others. */
function drawName(
  context: Context,
  box: Box,
  place: { left: number; top: number; bottom: number },
  upper: number,
  pen: Pen,
  taken: Area[],
): void {
  const text = pen.brief ? box.name : `${box.name} ${box.score.toFixed(2)}`;
  const high = pen.letters * 1.45;
  const width = context.measureText(text).width + pen.letters * 0.7;
  const left = Math.max(Math.min(place.left - pen.line * 0.7, context.canvas.width - width), 0);
  const right = left + width;
  const isFree = (top: number) =>
    top >= upper && taken.every(([l, t, r, b]) => right <= l || left >= r || top + high <= t || top >= b);
  const top = [place.top - high, place.bottom, place.top, place.bottom - high].find(isFree);
  if (top === undefined) return; // its colour and the list beside the image tell it
  taken.push([left, top, right, top + high]);
  context.fillStyle = colourOf(box);
  context.fillRect(left, top, right - left, high);
  context.fillStyle = "#141414";
  context.fillText(text, left + pen.letters * 0.35, top + high / 2);
}

function drawNumber(context: Context, text: string, x: number, y: number, pen: Pen): void {
  context.beginPath();
  context.arc(x, y, pen.letters * 0.95, 0, 2 * Math.PI);
  context.fillStyle = "rgba(255, 255, 255, 0.92)";
  context.fill();
  context.lineWidth = pen.line * 0.6;
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";
  context.stroke();
  context.fillStyle = "#141414";
  context.fillText(text, x, y + pen.letters * 0.06);
}
