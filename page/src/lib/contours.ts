/** The outlines of a mask, and its run lengths. */

type Points = number[]; // x, y, x, y, ...

/**
 * Return closed outlines around the pixels that are not 0, holes included.
 *
 * They pass through the middles of the sides of pixels, so that slanted edges are straight.
 *
 * @param mask (height * width).
 */
export function outlines(mask: Uint8Array, width: number, height: number): Points[] {
  const at = (x: number, y: number) => (x >= 0 && y >= 0 && x < width && y < height ? +(mask[y * width + x] !== 0) : 0);
  // Sides of pixels with the mask on their right. A corner is the start of at most two.
  const corners = width + 1;
  const next = new Map<number, number[]>();
  const add = (x: number, y: number, u: number, v: number) => {
    const from = y * corners + x;
    const known = next.get(from);
    if (known) known.push(v * corners + u);
    else next.set(from, [v * corners + u]);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!mask[y * width + x]) continue;
      if (!at(x, y - 1)) add(x, y, x + 1, y);
      if (!at(x + 1, y)) add(x + 1, y, x + 1, y + 1);
      if (!at(x, y + 1)) add(x + 1, y + 1, x, y + 1);
      if (!at(x - 1, y)) add(x, y + 1, x, y);
    }
  }
  const found: Points[] = [];
  for (const start of next.keys()) {
    while (next.get(start)?.length) {
      const points: Points = [];
      let from = start;
      do {
        const ends = next.get(from);
        if (!ends?.length) break;
        const to = ends.pop()!;
        points.push(((from % corners) + (to % corners)) / 2, (Math.floor(from / corners) + Math.floor(to / corners)) / 2);
        from = to;
      } while (from !== start);
      found.push(points);
    }
  }
  return found;
}

/** Outlines as a path in image pixels. */
export function pathOf(outlines: Points[]): Path2D {
  const path = new Path2D();
  for (const points of outlines) {
    path.moveTo(points[0], points[1]);
    for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
    path.closePath();
  }
  return path;
}

/** COCO's uncompressed run lengths: down the columns, zeros first. */
export function runLengths(mask: Uint8Array, width: number, height: number): number[] {
  const counts: number[] = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const now = +(mask[y * width + x] !== 0);
      if (now !== value) {
        counts.push(run);
        run = 0;
        value = now;
      }
      run++;
    }
  }
  counts.push(run);
  return counts;
}
