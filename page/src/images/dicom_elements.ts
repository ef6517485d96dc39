/** Elements of a DICOM file as plain numbers, whatever the writer made of them. */

import type { DataSet, Element } from "dicom-parser";

import { BadFile } from "./picture.ts";

/** The elements that are read, and no others: tag and value representation. */
const TAGS = {
  TransferSyntaxUID: ["x00020010", "UI"],
  SOPClassUID: ["x00080016", "UI"],
  Manufacturer: ["x00080070", "LO"],
  SamplesPerPixel: ["x00280002", "US"],
  PhotometricInterpretation: ["x00280004", "CS"],
  PlanarConfiguration: ["x00280006", "US"],
  NumberOfFrames: ["x00280008", "IS"],
  Rows: ["x00280010", "US"],
  Columns: ["x00280011", "US"],
  BitsAllocated: ["x00280100", "US"],
  BitsStored: ["x00280101", "US"],
  HighBit: ["x00280102", "US"],
  PixelRepresentation: ["x00280103", "US"],
  SmallestImagePixelValue: ["x00280106", "US"],
  LargestImagePixelValue: ["x00280107", "US"],
  PixelPaddingValue: ["x00280120", "US"],
  PixelPaddingRangeLimit: ["x00280121", "US"],
  WindowCenter: ["x00281050", "DS"],
  WindowWidth: ["x00281051", "DS"],
  RescaleIntercept: ["x00281052", "DS"],
  RescaleSlope: ["x00281053", "DS"],
  VOILUTFunction: ["x00281056", "CS"],
  ModalityLUTSequence: ["x00283000", "SQ"],
  LUTDescriptor: ["x00283002", "US"],
  LUTData: ["x00283006", "OW"],
  VOILUTSequence: ["x00283010", "SQ"],
  PresentationLUTSequence: ["x20500010", "SQ"],
  PresentationLUTShape: ["x20500020", "CS"],
  PixelData: ["x7fe00010", "OW"],
} as const;
export type Keyword = keyof typeof TAGS;

const THOUSANDS = /^[+-]?[1-9]\d{0,2},\d{3}$/;
const BIG_ENDIAN = "1.2.840.10008.1.2.2";

/** The name of an element as messages have it: Bits Stored (0028,0101). */
export function nameOf(keyword: Keyword): string {
  const tag = TAGS[keyword][0].slice(1).toUpperCase();
  const words = keyword.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/LUT([A-Z])/g, "LUT $1").replace("VOILUT", "VOI LUT");
  return `${words} (${tag.slice(0, 4)},${tag.slice(4)})`;
}

export class Elements {
  constructor(
    private readonly data: DataSet,
    private readonly root: DataSet = data,
  ) {}

  private bytesOf(keyword: Keyword): Uint8Array | null {
    const element = this.element(keyword);
    if (!element || element.length <= 0) return null;
    return this.data.byteArray.subarray(element.dataOffset, element.dataOffset + element.length) as Uint8Array;
  }

  private element(keyword: Keyword): Element | undefined {
    return this.data.elements[TAGS[keyword][0]];
  }

  private get isLittle(): boolean {
    return new Elements(this.root).text("TransferSyntaxUID") !== BIG_ENDIAN;
  }

  has(keyword: Keyword): boolean {
    return this.element(keyword) !== undefined;
  }

  /** Whether an overlay may lie in unused bits. */
  hasOverlay(): boolean {
    return Object.keys(this.data.elements).some((tag) => /^x60[01][02468ace]0102$/.test(tag));
  }

  /** The numbers of an element; none where it is missing. NaN stands for an empty one of several. */
  numbers(keyword: Keyword): number[] {
    const bytes = this.bytesOf(keyword);
    if (!bytes) return [];
    if (TAGS[keyword][1] === "US") {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const isSigned = this.element(keyword)?.vr === "SS";
      return Array.from({ length: bytes.length >> 1 }, (_, i) =>
        isSigned ? view.getInt16(2 * i, this.isLittle) : view.getUint16(2 * i, this.isLittle),
      );
    }
    const parts = strip(new TextDecoder("latin1").decode(bytes)).split("\\").map(strip);
    if (parts.every((part) => !part)) return [];
    return parts.map((part) => {
      if (THOUSANDS.test(part)) {
        throw new BadFile(`${nameOf(keyword)} must have a decimal point. Received: a comma before three digits`);
      }
      if (!part || /^[+-]?nan$/i.test(part)) return NaN;
      const number = Number((part.match(/,/g)?.length === 1 ? part.replace(",", ".") : part).replace(/^([+-]?)inf(inity)?$/i, "$1Infinity"));
      if (Number.isNaN(number)) throw new BadFile(`${nameOf(keyword)} must be a number. Received: something else`);
      return number;
    });
  }

  integer(keyword: Keyword): number | null {
    const [number] = this.numbers(keyword);
    if (number === undefined) return null;
    if (!Number.isInteger(number)) throw new BadFile(`${nameOf(keyword)} must be a whole number.`);
    return number;
  }

  /** The first text of an element in capitals; "" where it is missing. */
  text(keyword: Keyword): string {
    const bytes = this.bytesOf(keyword);
    return bytes ? strip(strip(new TextDecoder("latin1").decode(bytes)).split("\\")[0]).toUpperCase() : "";
  }

  items(keyword: Keyword): Elements[] {
    const items = this.element(keyword)?.items ?? [];
    return items.flatMap((item) => (item.dataSet ? [new Elements(item.dataSet, this.root)] : []));
  }

  /** The content of an element as unsigned words of 16 bits. */
  words(keyword: Keyword): number[] {
    const bytes = this.bytesOf(keyword) ?? new Uint8Array();
    const odd = bytes.length % 2;
    const whole = new Uint8Array(bytes.length + odd);
    whole.set(bytes);
    const view = new DataView(whole.buffer);
    return Array.from({ length: whole.length >> 1 }, (_, i) => view.getUint16(2 * i, this.isLittle));
  }

  /** The transfer syntax; the default where the file has none. */
  syntax(): string {
    return this.text("TransferSyntaxUID");
  }

  /** Uncompressed pixel data. */
  pixelBytes(): Uint8Array {
    const bytes = this.bytesOf("PixelData");
    if (!bytes) throw new BadFile("The DICOM file must have Pixel Data (7FE0,0010). Received: none");
    return bytes;
  }

  get pixelsAreLittle(): boolean {
    return this.isLittle;
  }

  /** The compressed stream of the one frame. */
  frame(): Uint8Array<ArrayBuffer> {
    const fragments = this.element("PixelData")?.fragments ?? [];
    if (!fragments.length) throw new BadFile("The DICOM file must have Pixel Data (7FE0,0010). Received: none");
    const stream = new Uint8Array(fragments.reduce((total, fragment) => total + fragment.length, 0));
    let at = 0;
    for (const { position, length } of fragments) {
      stream.set(this.data.byteArray.subarray(position, position + length), at);
      at += length;
    }
    return stream;
  }
}

function strip(value: string): string {
  return value.replace(/^[ \0]+|[ \0]+$/g, "");
}
