/**
 * DICOM radiographs as they are meant to be displayed, by the rules of dentalzoo/data/io/dicom.py.
 * What this page would read otherwise is refused. No element with personal data is read.
 */

import { parseDicom, type DataSet } from "dicom-parser";

import { Elements } from "./dicom_elements.ts";
import { toGrey } from "./dicom_grey.ts";
import { describe, storedValues, type Description } from "./dicom_pixels.ts";
import { readJpeg } from "./jpeg.ts";
import { BadFile, checkSize, type Picture } from "./picture.ts";

const JPEG_BASELINE = "1.2.840.10008.1.2.4.50";
const NATIVE = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"];
const DERIVED = ["1.2.840.10008.5.1.4.1.1.66.", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.481."];
const PREAMBLE = 132;

const text = (bytes: Uint8Array, from: number, to: number) =>
  String.fromCharCode(...bytes.subarray(from, to));

/** Whether bytes are DICOM, with the preamble or without. */
export function isDicom(bytes: Uint8Array): boolean {
  if (text(bytes, 128, PREAMBLE) === "DICM") return true;
  const group = bytes[0] | (bytes[1] << 8);
  return (group === 2 || group === 8) && bytes.length > PREAMBLE && bytes[3] === 0 && bytes[7] < 8;
}

export async function readDicom(bytes: Uint8Array<ArrayBuffer>): Promise<Picture> {
  let dataSet: DataSet;
  try {
    dataSet = parseDicom(text(bytes, 128, PREAMBLE) === "DICM" ? bytes : withPreamble(bytes));
  } catch (error) {
    const what = error instanceof Error ? error.message : String((error as { exception?: string })?.exception ?? error);
    throw new BadFile(`Damaged DICOM, or deflated; save it again. Received: ${what.split("\n")[0].slice(0, 120)}`);
  }
  const elements = new Elements(dataSet);
  const rows = elements.integer("Rows") ?? 0;
  const columns = elements.integer("Columns") ?? 0;
  const kind = elements.text("SOPClassUID");
  if (!rows || !columns) throw new BadFile("The DICOM file must hold an image. Received: one without rows and columns");
  checkSize(columns, rows);
  if (elements.text("Manufacturer") === "DENTALZOO" || DERIVED.some((uid) => kind.startsWith(uid))) {
    throw new BadFile("The DICOM file must hold a radiograph. Received: a result, such as a segmentation");
  }
  const frames = elements.integer("NumberOfFrames") ?? 1;
  if (frames > 1) throw new BadFile(`The DICOM file must have one frame. Received: ${frames} frames`);
  const description = describe(elements, rows, columns);
  const syntax = elements.syntax();
  if (NATIVE.includes(syntax)) return fromNative(description, elements);
  if (syntax === JPEG_BASELINE) return fromJpeg(description, elements);
  throw new BadFile(
    "The DICOM file must be uncompressed or baseline JPEG; save it so, for example with " +
      `gdcmconv --raw IN OUT. Received: transfer syntax ${syntax || "missing"}`,
  );
}

function withPreamble(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(PREAMBLE + bytes.length);
  whole.set([0x44, 0x49, 0x43, 0x4d], 128);
  whole.set(bytes, PREAMBLE);
  return whole;
}

function fromNative(description: Description, elements: Elements): Picture {
  const { rows: height, columns: width, notes } = description;
  const stored = storedValues(description, elements);
  if (description.samples === 1) {
    return { width, height, channels: 1, pixels: toGrey(description, elements, stored), notes };
  }
  const top = 2 ** description.bitsStored - 1;
  const pixels = Uint8Array.from(stored, (value) => Math.round(Math.min(value / top, 1) * 255));
  return { width, height, channels: 3, pixels, notes };
}

async function fromJpeg(description: Description, elements: Elements): Promise<Picture> {
  if (description.bitsAllocated !== 8) {
    throw new BadFile(`Bits Allocated must be 8 for baseline JPEG. Received: ${description.bitsAllocated}`);
  }
  const picture = await readJpeg(elements.frame());
  const { rows, columns, samples, kind, notes } = description;
  if (picture.width !== columns || picture.height !== rows || picture.channels !== samples) {
    throw new BadFile(
      `The JPEG in the DICOM file must have ${columns} x ${rows} pixels of ${samples} components. ` +
        `Received: ${picture.width} x ${picture.height} of ${picture.channels}`,
    );
  }
  if (samples === 3) return { ...picture, notes };
  if (kind === "PALETTE COLOR") throw new BadFile("A DICOM palette must not be compressed as JPEG.");
  const pixels = toGrey(description, elements, Float64Array.from(picture.pixels));
  return { ...picture, pixels, notes };
}
