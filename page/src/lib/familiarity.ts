/** Whether a bundle knows images like this one, in the words of dentalzoo/tasks/familiarity.py. */

import type { Part } from "./bundles.ts";
import type { Values } from "./protocol.ts";

const FOREIGN = 2; // above it the image shows something else
const OPPOSITE = -0.2;

export interface Familiarity {
  score: number;
  verdict: "familiar" | "unusual" | "foreign";
  /** What is unlike the training images; the part of the largest ratio first. */
  reasons: string[];
}

const VERDICTS = {
  familiar: "check the result",
  unusual: "unlike the training images, check the result",
  foreign: "not the kind of image that this bundle is for, do not rely on the result",
};

/** Return what the results of `familiarity` say; `empty` where nothing was found. */
export function familiarityOf(
  values: Record<string, Values>,
  known: Record<string, Part>,
  empty: boolean,
): Familiarity {
  const { score, ...parts } = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, Number(value.data[0])]),
  );
  const verdict = score <= 1 ? "familiar" : score <= FOREIGN ? "unusual" : "foreign";
  const reasons = Object.entries(parts)
    .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))
    .filter(([, ratio]) => Math.abs(ratio) > 1)
    .map(([part, ratio]) => reason(part, ratio, known[part] ?? { centre: 0, bound: 1 }));
  if (empty) reasons.push("empty result: nothing was found");
  return { score, verdict, reasons };
}

/** The sentence that warns, without the reasons. */
export function verdictText({ verdict }: Familiarity): string {
  return VERDICTS[verdict];
}

function reason(part: string, ratio: number, { centre, bound }: Part): string {
  const value = centre + ratio * bound;
  const more = ratio > 0;
  const [low, high] = [centre - bound, centre + bound];
  const fixed = (number: number) => number.toFixed(2);
  switch (part) {
    case "content":
      return `other content than the training images (${fixed(ratio)} times as far as expected)`;
    case "layout":
      return 1 - value < OPPOSITE ? "inverted polarity, or light and dark elsewhere" : "other layout";
    case "brightness": {
      const shown = `mean grey level ${fixed(Math.max(value, 0))}, expected ${fixed(Math.max(low, 0))} to ${fixed(Math.min(high, 1))}`;
      return `too ${more ? "bright" : "dark"} (${shown})`;
    }
    case "contrast": {
      const shown = `${fixed(Math.exp(value))}, expected ${fixed(Math.exp(low))} to ${fixed(Math.exp(high))}`;
      return `${more ? "too much contrast" : "too flat"} (deviation of grey levels ${shown})`;
    }
    case "aspect":
      return `aspect ratio ${fixed(Math.exp(value))}:1, expected ${fixed(Math.exp(low))} to ${fixed(Math.exp(high))}`;
    case "colour":
      return more ? "a colour image" : "less colour than the training images";
    default:
      return `other ${part}`;
  }
}
