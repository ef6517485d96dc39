/** Stored values of uncompressed DICOM images, by the rules of dentalzoo/data/io/dicom_pixels.py. */

import { nameOf, type Elements, type Keyword } from "./dicom_elements.ts";
import { BadFile } from "./picture.ts";

/** The description of an image's pixels, checked. */
export interface Description {
  rows: number;
  columns: number;
  samples: 1 | 3;
  /** Photometric Interpretation. */
  kind: string;
  bitsAllocated: number;
  bitsStored: number;
  highBit: number;
  signed: boolean;
  /** Lowest and highest padding value as words, or null. */
  padding: [number, number] | null;
  /** What was ignored or assumed. */
  notes: string[];
}

const SAMPLES: Record<string, 1 | 3> = { MONOCHROME1: 1, MONOCHROME2: 1, RGB: 3 };
const COMPRESSED_COLOURS = ["YBR_FULL", "YBR_FULL_422"];

function invalid(keyword: Keyword, expected: string, received: unknown): BadFile {
  return new BadFile(`${nameOf(keyword)} must be ${expected}. Received: ${received ?? "a file without it"}`);
}

export function describe(elements: Elements, rows: number, columns: number): Description {
  const kind = elements.text("PhotometricInterpretation");
  const isCompressed = elements.syntax().startsWith("1.2.840.10008.1.2.4.");
  const own = SAMPLES[kind] ?? (isCompressed && COMPRESSED_COLOURS.includes(kind) ? 3 : undefined);
  if (!own) throw invalid("PhotometricInterpretation", "MONOCHROME1, MONOCHROME2 or RGB", kind || null);
  const samples = elements.integer("SamplesPerPixel") || own;
  if (samples !== own) throw invalid("SamplesPerPixel", `${own} for ${kind}`, samples);
  const bitsAllocated = elements.integer("BitsAllocated");
  if (bitsAllocated !== 8 && bitsAllocated !== 16) throw invalid("BitsAllocated", "8 or 16", bitsAllocated);
  const bitsStored = elements.integer("BitsStored") ?? (bitsAllocated === 8 ? 8 : null);
  if (bitsStored === null || bitsStored < 1 || bitsStored > bitsAllocated) {
    throw invalid("BitsStored", `1 to ${bitsAllocated}, Bits Allocated`, bitsStored);
  }
  const highBit = elements.integer("HighBit") ?? bitsStored - 1;
  if (highBit < bitsStored - 1 || highBit >= bitsAllocated) throw invalid("HighBit", `${bitsStored - 1}`, highBit);
  const sign = elements.integer("PixelRepresentation");
  if (sign !== 0 && sign !== 1) throw invalid("PixelRepresentation", "0 or 1", sign);
  const ends = (["PixelPaddingValue", "PixelPaddingRangeLimit"] as const)
    .map((keyword) => elements.integer(keyword))
    .filter((value) => value !== null)
    .map((value) => value & 0xffff);
  const padding: [number, number] | null = elements.integer("PixelPaddingValue") === null ? null : [Math.min(...ends), Math.max(...ends)];
  const signed = sign === 1 && samples === 1;
  return { rows, columns, samples: own, kind, bitsAllocated, bitsStored, highBit, signed, padding, notes: [] };
}

/** Return the stored values, signed where they are; colours pixel by pixel. */
export function storedValues(description: Description, elements: Elements): Float64Array {
  const { rows, columns, samples, bitsAllocated } = description;
  const bytes = elements.pixelBytes();
  const size = rows * columns * samples;
  const needed = (size * bitsAllocated) / 8;
  if (bytes.length < needed) {
    throw new BadFile(`Damaged DICOM: Pixel Data (7FE0,0010) must have ${needed} bytes. Received: ${bytes.length}`);
  }
  if (bytes.length >= 2 * needed) {
    throw new BadFile(`The DICOM file must have one frame of ${needed} bytes. Received: ${bytes.length} bytes`);
  }
  const words = new Uint16Array(size);
  if (bitsAllocated === 8) words.set(bytes.subarray(0, size));
  else {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < size; i++) words[i] = view.getUint16(2 * i, elements.pixelsAreLittle);
  }
  if (samples === 1) return placeBits(description, elements, words);
  const planar = elements.integer("PlanarConfiguration");
  if (planar !== 0 && planar !== 1) throw invalid("PlanarConfiguration", "0 or 1", planar);
  const colours = Float64Array.from(words);
  if (planar === 0) return colours;
  const area = rows * columns;
  return colours.map((_, i) => words[(i % 3) * area + Math.floor(i / 3)]);
}

/** Return the values in the bits that count; unused bits must hold the sign, padding or nothing. */
function placeBits(description: Description, elements: Elements, words: Uint16Array): Float64Array {
  const { bitsStored: bits, bitsAllocated, padding, signed, notes, columns } = description;
  if (bits === 16 && isSwapped(words, columns)) {
    notes.push("The bytes of its pixels are in the other order and are exchanged.");
    for (let i = 0; i < words.length; i++) words[i] = (words[i] >> 8) | ((words[i] & 255) << 8);
  }
  let unused = bitsAllocated - bits;
  const shift = description.highBit + 1 - bits;
  if (shift) {
    const low = 2 ** shift - 1;
    if (!words.some((word) => word & low)) {
      for (let i = 0; i < words.length; i++) words[i] >>= shift;
      unused -= shift;
    } else if (words.every((word) => word < 2 ** bits)) {
      notes.push(`${nameOf("HighBit")} ${description.highBit} is ignored: the pixels fill the lower ${bits} bits.`);
    } else {
      throw invalid("HighBit", `${bits - 1}, or the bits below must be 0`, "pixels there");
    }
  }
  const mayOverlay = elements.hasOverlay();
  const values = new Float64Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const beyond = word >> bits;
    let value = word & (2 ** bits - 1);
    const sign = signed ? value >> (bits - 1) : 0;
    if (sign) value -= 2 ** bits;
    if (beyond !== 0 && beyond !== sign * (2 ** unused - 1)) {
      if (padding && word >= padding[0] && word <= padding[1]) {
        value = signed && word >> (bitsAllocated - 1) ? word - 2 ** bitsAllocated : word;
      } else if (!mayOverlay) {
        throw invalid("BitsStored", `the bits of the largest value, or the bits beyond ${bits} must be 0`, `the value ${word}`);
      }
    }
    values[i] = value;
  }
  checkSign(values, description);
  return values;
}

/** Whether 16-bit words have their bytes in the wrong order: neighbours are far smoother exchanged. */
function isSwapped(words: Uint16Array, columns: number): boolean {
  if (words.length < 1024 || columns < 2 || words.length / columns < 2) return false;
  const swapped = words.map((word) => (word >> 8) | ((word & 255) << 8));
  return roughness(words, columns) > 8 * Math.max(roughness(swapped, columns), 1e-9);
}

function roughness(words: Uint16Array, columns: number): number {
  const ordered = words.slice().sort();
  const at = (part: number) => ordered[Math.round(part * (ordered.length - 1))];
  let steps = 0;
  for (let i = 1; i < words.length; i++) if (i % columns) steps += Math.abs(words[i] - words[i - 1]);
  return steps / (words.length - words.length / columns) / Math.max(at(0.95) - at(0.05), 1);
}

/**
 * Refuse pixels that contradict Pixel Representation: neighbours that differ by almost the whole
 * range, everywhere where the image passes its middle. dentalzoo itself looks closer and may read them.
 */
function checkSign(values: Float64Array, description: Description): void {
  const { bitsStored: bits, signed, columns } = description;
  if (bits < (signed ? 8 : 9)) return;
  const half = 2 ** (bits - 1);
  const ends = signed ? [-half, -1, 0, half - 1] : [0, half - 1, half, 2 * half - 1];
  const moves = (value: number) => (signed ? value < 0 : value >= half);
  let unlike = 0;
  let alike = 0;
  const compare = (a: number, b: number) => {
    if (moves(a) === moves(b) || ends.includes(a) || ends.includes(b)) return;
    const step = Math.abs(a - b);
    if (step >= (7 / 8) * 2 * half) unlike++;
    else if (step <= (1 / 8) * 2 * half) alike++;
  };
  for (let i = 0; i < values.length; i++) {
    if (i % columns) compare(values[i], values[i - 1]);
    if (i >= columns) compare(values[i], values[i - columns]);
  }
  if (unlike >= Math.max(64, 4 * alike)) {
    throw new BadFile(
      `${nameOf("PixelRepresentation")} contradicts the pixels, whose neighbours differ by almost the whole range; ` +
        "read the file with dentalzoo predict. Received: doubtful signs",
    );
  }
}
