/**
 * Grey levels: the depth of 16-bit samples, and images in which nothing can be seen.
 *
 * The rules and constants are those of dentalzoo/data/io/grey_levels.py, which gives the reasons.
 */

const DEPTHS = [8, 10, 12, 14, 16];
const MAX_BEYOND = 1000; // one pixel in so many may be beyond the depth
const MAX_TENTHS = 9; // of all pixels that may be beyond the depth
const MAX_APART = 3; // percent of all pixels beyond a gap
const GAP_SHARE = 16;
const GAP_BITS = 10;
const UPPER_PERCENT = 1;
const MIN_VALUES = 32;
const OUTLYING = 1.25;
const SAMPLED = 1 << 22;
const SHARE = 0.005; // of the darkest and of the brightest pixels that do not count
const BLACK = 32;
const WHITE = 223;
const FLAT = 16;
const EXTREME = 8;
const EXTREMES = 0.98;

const sum = (counts: Float64Array) => counts.reduce((total, count) => total + count, 0);
const used = (counts: Float64Array) => counts.reduce((total, count) => total + +(count > 0), 0);

function holds(counts: Float64Array, bits: number): boolean {
  const below = counts.subarray(0, 1 << bits);
  const beyond = counts.subarray(1 << bits);
  const many = sum(beyond);
  const total = sum(counts);
  if (!many) return true;
  if (10 * many > MAX_TENTHS * total || used(below) < MIN_VALUES) return false;
  if ((many - beyond.reduce((a, b) => Math.max(a, b), 0)) * MAX_BEYOND <= total) return true;
  const gap = sum(beyond.subarray(0, 1 << (bits - 2)));
  const upper = sum(below.subarray(1 << (bits - 1)));
  return (
    bits >= GAP_BITS &&
    100 * many <= MAX_APART * total &&
    GAP_SHARE * gap <= many &&
    100 * upper >= UPPER_PERCENT * total
  );
}

/** Whether all values are those of `bits` spread over 16. */
function isSpread(counts: Float64Array, bits: number): boolean {
  const values = [...counts.keys()].filter((value) => counts[value] > 0);
  const largest = values.at(-1) ?? 0;
  if (values.length < MIN_VALUES && (values.length < 3 || largest < 1 << bits)) return false;
  const shift = 16 - bits;
  const top = (1 << bits) - 1;
  if (bits > 8 && values.every((value) => (value >> shift) << shift === value)) return true;
  const scaled = (high: number) => Math.floor((high * 65535 + (top >> 1)) / top);
  const repeated = (high: number) => (high << shift) | (high >> (bits - shift));
  return (
    values.every((value) => scaled(value >> shift) === value) ||
    values.every((value) => repeated(value >> shift) === value)
  );
}

/** Scale samples of 16 bits so that the largest value of their depth becomes 255. */
export function to8Bits(samples: Uint16Array, stated: number | null): Uint8Array {
  const counts = new Float64Array(65536);
  for (let i = 0; i < samples.length; i++) counts[samples[i]]++;
  const spread = isSpread(counts, 8) || (stated !== null && isSpread(counts, stated));
  const candidates = stated === null ? DEPTHS : [stated, ...DEPTHS];
  const bits = spread ? 16 : (candidates.find((depth) => holds(counts, depth)) ?? 16);
  const top = 2 ** bits - 1;
  const half = Math.floor(top / 2);
  const table = Uint8Array.from({ length: 65536 }, (_, value) =>
    Math.min(Math.floor((value * 255 + half) / top), 255),
  );
  return Uint8Array.from(samples, (value) => table[value]);
}

/** The smallest and the largest value that count for a stretch to black and white. */
export function robustRange(values: Float64Array): [number, number] {
  if (!values.length) return [0, 0];
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const inner = values.filter((value) => value > low && value < high);
  const few = Math.floor(inner.length / MAX_BEYOND);
  if (2 * inner.length < values.length) return [low, high];
  const step = 1 + Math.floor(inner.length / SAMPLED);
  const seen = new Set<number>();
  for (let i = 0; i < inner.length && seen.size < MIN_VALUES; i += step) seen.add(inner[i]);
  if (seen.size < MIN_VALUES) return [low, high];
  inner.sort();
  const first = inner[few];
  const last = inner[inner.length - 1 - few];
  if (high - first > OUTLYING * (last - first)) high = last;
  if (high - low > OUTLYING * (high - first)) low = first;
  return [low, high];
}

/** Why nothing can be seen in an image; "" for an ordinary one. */
export function nothingToSee(pixels: Uint8Array, channels: number): string {
  const reasons = Array.from({ length: channels }, (_, c) => reasonOf(pixels, channels, c));
  return reasons.every(Boolean) ? reasons[0] : "";
}

function reasonOf(pixels: Uint8Array, channels: number, channel: number): string {
  const counts = new Float64Array(256);
  for (let i = channel; i < pixels.length; i += channels) counts[pixels[i]]++;
  const size = pixels.length / channels;
  let total = 0;
  const share = counts.map((count) => (total += count) / size);
  const low = share.findIndex((part) => part > SHARE);
  const high = share.findIndex((part) => part >= 1 - SHARE);
  if (high < BLACK) return `nearly black: 99.5 % of the pixels are below ${high + 1} of 255`;
  if (low > WHITE) return `nearly white: 99.5 % of the pixels are above ${low - 1} of 255`;
  if (high - low < FLAT) {
    return `nearly flat: 99 % of the pixels are from ${low} to ${high} of 255`;
  }
  const extremes = sum(counts.subarray(0, EXTREME + 1)) + sum(counts.subarray(255 - EXTREME));
  if (extremes < EXTREMES * size) return "";
  return `no grey values: ${((100 * extremes) / size).toFixed(1)} % of the pixels are black or white`;
}
