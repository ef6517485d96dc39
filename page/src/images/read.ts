/** From the bytes of a file to a picture; its first bytes decide what it is, never its name. */

import { isDicom, readDicom } from "./dicom.ts";
import { readJpeg } from "./jpeg.ts";
import { nothingToSee } from "./levels.ts";
import { BadFile, type Picture } from "./picture.ts";
import { readPng } from "./png.ts";

const OTHERS: [string, string][] = [
  ["%PDF", "a PDF"],
  ["PK\x03\x04", "a ZIP archive, which must be unpacked"],
  ["\x1f\x8b", "a gzip archive, which must be unpacked"],
  ["II*\0", "a TIFF"],
  ["MM\0*", "a TIFF"],
  ["GIF8", "a GIF"],
  ["BM", "a BMP"],
  ["RIFF", "a WebP"],
  ["<", "a web page or text"],
];

/**
 * Read an image, upright, with the grey levels that `dentalzoo predict` gives it.
 *
 * @throws BadFile the file is no PNG, JPEG or DICOM image, is damaged, too large, or of a kind that
 *   this page would read otherwise than dentalzoo does.
 */
export async function readPicture(bytes: Uint8Array<ArrayBuffer>): Promise<Picture> {
  const head = String.fromCharCode(...bytes.subarray(0, 8));
  let picture: Picture;
  if (head.startsWith("\x89PNG\r\n\x1a\n")) picture = readPng(bytes);
  else if (head.startsWith("\xff\xd8\xff")) picture = await readJpeg(bytes);
  else if (isDicom(bytes)) picture = await readDicom(bytes);
  else {
    const kind = OTHERS.find(([start]) => head.startsWith(start))?.[1] ?? "another file";
    throw new BadFile(
      `The file must be PNG, JPEG or DICOM. Received: ${bytes.length ? kind : "an empty file"}`,
    );
  }
  const reason = nothingToSee(picture.pixels, picture.channels);
  if (reason) picture.notes.push(`The image is ${reason}.`);
  return picture;
}
