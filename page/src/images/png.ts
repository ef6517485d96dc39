/**
 * PNG files, sample by sample: a browser's own decoder would keep 8 of 16 bits and apply colour
 * profiles, which the bundles were not trained with.
 */

import { decode } from "fast-png";

import { to8Bits } from "./levels.ts";
import { BadFile, checkSize, type Picture } from "./picture.ts";

const DAMAGED = "Damaged PNG; save it again.";

/** What the chunks say that the decoder does not. */
interface Header {
  width: number;
  height: number;
  significantBits: number | null;
  turned: boolean;
}

export function readPng(bytes: Uint8Array): Picture {
  const header = readHeader(bytes);
  checkSize(header.width, header.height);
  if (header.turned) {
    throw new BadFile("A PNG must be stored upright; turn it and save it again. Received: a turned one");
  }
  let image;
  try {
    image = decode(bytes, { checkCrc: true });
  } catch (error) {
    throw new BadFile(`${DAMAGED} Received: ${error instanceof Error ? error.message : error}`);
  }
  const { width, height, depth } = image;
  const bands = image.channels;
  const samples = depth < 8 ? unpacked(image.data as Uint8Array, width, height, depth) : image.data;
  if (samples.length !== width * height * bands) throw new BadFile(`${DAMAGED} Received: too few pixels`);
  const notes: string[] = [];
  if (image.palette) return fromPalette(samples as Uint8Array, image.palette, width, height);
  const channels = bands < 3 ? 1 : 3; // alpha is dropped
  let kept = bands === channels ? samples : withoutAlpha(samples, bands, channels);
  if (depth < 8) kept = (kept as Uint8Array).map((value) => (value * 255) / (2 ** depth - 1));
  const pixels =
    depth === 16 ? to8Bits(Uint16Array.from(kept), header.significantBits) : Uint8Array.from(kept);
  return { width, height, channels, pixels, notes };
}

function readHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header: Header = { width: 0, height: 0, significantBits: null, turned: false };
  if (bytes.length < 33) throw new BadFile(`${DAMAGED} Received: ${bytes.length} bytes`);
  header.width = view.getUint32(16);
  header.height = view.getUint32(20);
  const sixteen = bytes[24] === 16;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "sBIT" && sixteen) {
      const bits = Math.max(...content.subarray(0, length <= 2 ? 1 : 3));
      header.significantBits = bits >= 8 && bits <= 15 ? bits : null;
    }
    if (kind === "eXIf") header.turned = orientationOf(content) > 1;
    if (kind === "IEND") break;
    at += 12 + length;
  }
  return header;
}

/** The orientation 1 to 8 of an EXIF block; 1 where there is none. */
function orientationOf(exif: Uint8Array): number {
  if (exif.length < 8) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  const little = exif[0] === 0x49;
  const start = view.getUint32(4, little);
  if (start + 2 > exif.length) return 1;
  const count = view.getUint16(start, little);
  for (let i = 0; i < count && start + 14 + 12 * i <= exif.length; i++) {
    const at = start + 2 + 12 * i;
    if (view.getUint16(at, little) === 274) return view.getUint16(at + 8, little);
  }
  return 1;
}

function unpacked(data: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const stride = Math.ceil((width * depth) / 8);
  const mask = 2 ** depth - 1;
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = data[y * stride + (bit >> 3)];
      values[y * width + x] = (byte >> (8 - depth - (bit & 7))) & mask;
    }
  }
  return values;
}

type Samples = Uint8Array | Uint8ClampedArray | Uint16Array;

function withoutAlpha(samples: Samples, bands: number, channels: number): Samples {
  const size = samples.length / bands;
  const kept = samples instanceof Uint16Array ? new Uint16Array(size * channels) : new Uint8Array(size * channels);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < channels; c++) kept[i * channels + c] = samples[i * bands + c];
  }
  return kept;
}

function fromPalette(indices: Uint8Array, palette: number[][], width: number, height: number): Picture {
  const seen = new Set(indices);
  const isGrey = [...seen].every((index) => {
    const [red, green, blue] = palette[index] ?? [0, 0, 0];
    return red === green && red === blue;
  });
  const channels = isGrey ? 1 : 3;
  const pixels = new Uint8Array(indices.length * channels);
  for (let i = 0; i < indices.length; i++) {
    const colour = palette[indices[i]] ?? [0, 0, 0];
    for (let c = 0; c < channels; c++) pixels[i * channels + c] = colour[c];
  }
  return { width, height, channels, pixels, notes: [] };
}
