/** Stored DICOM values to brightness, by the rules of dentalzoo/data/io/dicom_grey.py. */

import { nameOf, type Elements, type Keyword } from "./dicom_elements.ts";
import type { Description } from "./dicom_pixels.ts";
import { robustRange } from "./levels.ts";
import { BadFile } from "./picture.ts";

const FUNCTIONS = ["LINEAR", "LINEAR_EXACT", "SIGMOID"];
const ALIKE = 16;
const WIDEST = 2.5; // a window wider than so many times all values of the bits is of other bits
const VISIBLE = 0.1; // a window that saturates 9 of 10 pixels is wrong

/** Round halves to even, as NumPy does. */
function rint(value: number): number {
  const floor = Math.floor(value);
  const part = value - floor;
  if (part !== 0.5) return part < 0.5 ? floor : floor + 1;
  return floor % 2 ? floor + 1 : floor;
}

const clip = (value: number) => Math.min(Math.max(value, 0), 1);
const scale = (fraction: Float64Array) => Uint8Array.from(fraction, (part) => rint(clip(part) * 255));

/** Return 8-bit grey levels: modality, window or table, presentation, inversion. */
export function toGrey(description: Description, elements: Elements, stored: Float64Array): Uint8Array {
  const fraction = new Grey(description, elements, stored).fractionOfWhite().map(clip);
  const inverse = elements.text("PresentationLUTShape") === "INVERSE";
  const isMonochrome1 = description.kind === "MONOCHROME1";
  const [table] = elements.items("PresentationLUTSequence");
  if (table) {
    if (isMonochrome1) {
      throw new BadFile(`${nameOf("PresentationLUTSequence")} must not be combined with MONOCHROME1. Received: both`);
    }
    const last = descriptorOf(table)[0] - 1;
    const { found, reached, bits } = lookUp(description, table, fraction.map((part) => rint(part * last)), "PresentationLUTSequence");
    return scale(shareOf(found, reached, bits));
  }
  if (inverse && !isMonochrome1) description.notes.push(`Inverted, as ${nameOf("PresentationLUTShape")} INVERSE says.`);
  const grey = scale(fraction);
  return inverse || isMonochrome1 ? grey.map((level) => 255 - level) : grey;
}

interface Modality {
  values: Float64Array;
  changed: boolean;
  unitsKnown: boolean;
  lowest: number;
  highest: number;
}

class Grey {
  constructor(
    private readonly description: Description,
    private readonly elements: Elements,
    private readonly stored: Float64Array,
  ) {}

  fractionOfWhite(): Float64Array {
    const inside = this.inside();
    const { values, changed, unitsKnown, lowest, highest } = this.modality();
    const { bitsStored, signed, notes } = this.description;
    const shown = inside ? values.filter((_, i) => inside[i]) : values;
    for (const item of this.elements.items("VOILUTSequence")) {
      const { found, reached, bits } = lookUp(this.description, item, values, "VOILUTSequence", highest);
      const fraction = shareOf(found, reached, bits);
      if (isVisible(fraction, values, inside)) return fraction;
      notes.push(`${nameOf("VOILUTSequence")} leaves nothing to see and is ignored.`);
    }
    for (const window of unitsKnown ? this.windows() : []) {
      const fraction = windowed(values, window);
      if (window.width <= WIDEST * (highest - lowest) && isVisible(fraction, values, inside)) return fraction;
      notes.push(`Window ${window.centre}/${window.width} leaves nothing to see and is ignored.`);
    }
    if (bitsStored <= 8 && !signed && !changed) return values.map((value) => value / (2 ** bitsStored - 1));
    const [low, high] = robustRange(shown);
    return values.map((value) => (value - low) / Math.max(high - low, Number.MIN_VALUE));
  }

  /** Where pixels are no padding; null for everywhere. */
  private inside(): Uint8Array | null {
    const first = this.elements.integer("PixelPaddingValue");
    if (first === null) return null;
    const second = this.elements.integer("PixelPaddingRangeLimit") ?? first;
    const ends = [first, second].map((end) => {
      const word = end & 0xffff;
      return this.description.signed && word >= 1 << 15 ? word - (1 << 16) : word;
    });
    const low = Math.min(...ends);
    const high = Math.max(...ends);
    const inside = Uint8Array.from(this.stored, (value) => +(value < low || value > high));
    if (inside.includes(1)) return inside;
    this.description.notes.push("All pixels are padding, which is ignored.");
    return null;
  }

  private modality(): Modality {
    const { bitsStored, signed, notes } = this.description;
    const values = this.stored;
    const half = 2 ** (bitsStored - 1);
    const [lowest, highest] = signed ? [-half, half - 1] : [0, 2 * half - 1];
    const plain = { values, changed: false, lowest, highest };
    const [table] = this.elements.items("ModalityLUTSequence");
    if (table) {
      const { found, reached } = lookUp(this.description, table, values, "ModalityLUTSequence");
      const low = Math.min(...reached);
      const high = Math.max(...reached);
      if (low < high) return { values: found, changed: true, unitsKnown: true, lowest: low, highest: high };
      notes.push(`${nameOf("ModalityLUTSequence")} is flat and is ignored.`);
      return { ...plain, unitsKnown: false };
    }
    const [slope = 1] = this.elements.numbers("RescaleSlope");
    const [intercept = 0] = this.elements.numbers("RescaleIntercept");
    if (!Number.isFinite(intercept) || !(Math.abs(slope) > 1e-30 && Math.abs(slope) < 1e30)) {
      notes.push(`${nameOf("RescaleSlope")} ${slope} and intercept ${intercept} are ignored.`);
      return { ...plain, unitsKnown: intercept === 0 };
    }
    if (Math.abs(intercept) > 1e12 * Math.abs(slope)) {
      notes.push(`${nameOf("RescaleIntercept")} ${intercept} is ignored.`);
      return { ...plain, unitsKnown: false };
    }
    if (slope === 1 && intercept === 0) return { ...plain, unitsKnown: true };
    const limits = [lowest, highest].map((limit) => limit * slope + intercept);
    return {
      values: values.map((value) => value * slope + intercept),
      changed: true,
      unitsKnown: true,
      lowest: Math.min(...limits),
      highest: Math.max(...limits),
    };
  }

  private windows(): Window[] {
    const centres = this.elements.numbers("WindowCenter");
    const widths = this.elements.numbers("WindowWidth");
    const name = this.elements.text("VOILUTFunction") || "LINEAR";
    if (!FUNCTIONS.includes(name)) {
      throw new BadFile(`${nameOf("VOILUTFunction")} must be one of ${FUNCTIONS.join(", ")}. Received: another function`);
    }
    if (Boolean(centres.length) !== Boolean(widths.length)) {
      this.description.notes.push("A window without its centre or width is ignored.");
    }
    const smallest = name === "LINEAR" ? 1 : Number.MIN_VALUE;
    const usable: Window[] = [];
    centres.slice(0, widths.length).forEach((centre, i) => {
      const width = widths[i];
      if (Number.isFinite(centre) && width >= smallest && width < Infinity) usable.push({ centre, width, name });
      else if (width !== 0 && !(Number.isNaN(centre) && Number.isNaN(width))) {
        this.description.notes.push(`Window ${centre}/${width} is ignored.`);
      }
    });
    return usable;
  }
}

interface Window {
  centre: number;
  width: number;
  name: string;
}

function windowed(values: Float64Array, { centre, width, name }: Window): Float64Array {
  if (name === "SIGMOID") {
    return values.map((value) => {
      const exponent = Math.min(Math.max(-4 * ((value - centre) / width), -700), 700);
      return 1 / (1 + Math.exp(exponent));
    });
  }
  if (name === "LINEAR_EXACT") return values.map((value) => (value - centre) / width + 0.5);
  if (width <= 1) return values.map((value) => +(value >= centre - 0.5));
  return values.map((value) => (value - centre + 0.5) / (width - 1) + 0.5);
}

/** Whether a window or table leaves grey values where the pixels have some. */
function isVisible(fraction: Float64Array, values: Float64Array, inside: Uint8Array | null): boolean {
  let low = Infinity;
  let high = -Infinity;
  let darkest = 255;
  let brightest = 0;
  const grey = scale(fraction);
  for (let i = 0; i < values.length; i++) {
    if (inside && !inside[i]) continue;
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
    darkest = Math.min(darkest, grey[i]);
    brightest = Math.max(brightest, grey[i]);
  }
  if (low >= high) return true;
  if (darkest === brightest) return false;
  let between = 0;
  let visible = 0;
  for (let i = 0; i < values.length; i++) {
    if ((inside && !inside[i]) || values[i] <= low || values[i] >= high) continue;
    between++;
    visible += +(grey[i] > 0 && grey[i] < 255);
  }
  return !between || visible >= VISIBLE * between;
}

/** Divide entries of a table by the largest that it can have. */
function shareOf(entries: Float64Array, table: number[], bits: number): Float64Array {
  const largest = table.reduce((a, b) => Math.max(a, b), 0);
  const top = 2 ** bits - 1;
  const whole = Math.floor(top / 2) < largest && largest <= top ? top : Math.max(largest, 1);
  return entries.map((entry) => entry / whole);
}

interface LookedUp {
  found: Float64Array;
  reached: number[];
  bits: number;
}

function lookUp(
  description: Description,
  item: Elements,
  values: Float64Array,
  keyword: Keyword,
  reachable = Infinity,
): LookedUp {
  let [count, first, bits] = descriptorOf(item, keyword);
  const table = tableOf(item, count, bits);
  let lowest = Infinity;
  let highest = -Infinity;
  for (const value of values) {
    lowest = Math.min(lowest, value);
    highest = Math.max(highest, value);
  }
  if (first >= 1 << 15 && (description.signed || lowest < 0)) first -= 1 << 16;
  else if (first < 0 && !description.signed && lowest >= 0 && first + count <= 0) first += 1 << 16;
  if (table.length < count && highest - first > table.length - 1) {
    throw new BadFile(`${nameOf("LUTData")} of ${nameOf(keyword)} must have ${count} entries. Received: ${table.length}`);
  }
  const found = values.map((value) => table[Math.min(Math.max(rint(value) - first, 0), table.length - 1)]);
  const reached = table.slice(0, Math.max(Math.trunc(Math.min(reachable - first + 1, table.length)), 1));
  return { found, reached, bits };
}

/** The number of entries, the first mapped value and the bits of a table. */
function descriptorOf(item: Elements, owner?: Keyword): [number, number, number] {
  const numbers = item.numbers("LUTDescriptor");
  if (numbers.length !== 3) {
    const where = owner ? ` of ${nameOf(owner)}` : "";
    throw new BadFile(`${nameOf("LUTDescriptor")}${where} must have three numbers. Received: ${numbers.length}`);
  }
  const [count, first, bits] = numbers;
  return [count % (1 << 16) || 1 << 16, first, bits >= 1 && bits <= 16 ? bits : 16];
}

/** The entries of a table; half as many words as entries are two entries of 8 bits each. */
function tableOf(item: Elements, count: number, bits: number): number[] {
  const words = item.words("LUTData");
  if (!words.length) throw new BadFile(`${nameOf("LUTData")} must have entries. Received: none`);
  if (words.length === (count + 1) >> 1 && count > 1) {
    const packed = words.flatMap((word) => [word & 255, word >> 8]).slice(0, count);
    const steps = packed.slice(1).reduce((total, value, i) => total + Math.abs(value - packed[i]), 0);
    if (bits <= 8 || steps / (packed.length - 1) < ALIKE) return packed;
  }
  return words.slice(0, count);
}
