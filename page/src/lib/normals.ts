/** Normals of the surface under points, as dentalzoo.ops.meshes.point_normals estimates them. */

const NEIGHBOURS = 16;

/**
 * Return for each point the direction in which its nearest points spread least.
 *
 * @param points (N, 3), at least 3 points.
 * @returns (N, 3) of length 1; which of the two sides is outside is arbitrary.
 */
export function pointNormals(points: Float32Array): Float32Array {
  const count = points.length / 3;
  const grid = new Grid(points, count);
  const normals = new Float32Array(points.length);
  for (let i = 0; i < count; i++) normals.set(leastDirection(points, grid.nearest(i)), 3 * i);
  return normals;
}

/** Points by cells, so that the nearest are looked for in a few of them. */
class Grid {
  private readonly low = [Infinity, Infinity, Infinity];
  private readonly counts = [1, 1, 1];
  private readonly side: number;
  private readonly starts: Int32Array; // of the points of each cell in `order`
  private readonly order: Int32Array;

  constructor(
    private readonly points: Float32Array,
    count: number,
  ) {
    const high = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < points.length; i++) {
      this.low[i % 3] = Math.min(this.low[i % 3], points[i]);
      high[i % 3] = Math.max(high[i % 3], points[i]);
    }
    const extents = high.map((end, axis) => end - this.low[axis]);
    const longest = Math.max(...extents, 1e-6);
    this.side = longest / Math.min(Math.max(Math.sqrt(count / 4), 1), 100);
    this.counts = extents.map((extent) => Math.floor(extent / this.side) + 1);
    const cells = Int32Array.from({ length: count }, (_, i) => this.cell(this.at(i, 0), this.at(i, 1), this.at(i, 2)));
    this.starts = new Int32Array(this.counts[0] * this.counts[1] * this.counts[2] + 1);
    for (const cell of cells) this.starts[cell + 1]++;
    for (let cell = 1; cell < this.starts.length; cell++) this.starts[cell] += this.starts[cell - 1];
    const next = this.starts.slice();
    this.order = new Int32Array(count);
    cells.forEach((cell, i) => (this.order[next[cell]++] = i));
  }

  /** The points nearest to a point, itself included. */
  nearest(i: number): number[] {
    for (let reach = 1; ; reach++) {
      const found = this.within(i, reach);
      if (found.length === NEIGHBOURS || reach > Math.max(...this.counts)) return found;
    }
  }

  /** The nearest points of the cells that are at most `reach` cells away. */
  private within(i: number, reach: number): number[] {
    const chosen: number[] = [];
    const apart: number[] = [];
    const { points } = this;
    const [x, y, z] = [points[3 * i], points[3 * i + 1], points[3 * i + 2]];
    const range = (axis: number) => [Math.max(this.at(i, axis) - reach, 0), Math.min(this.at(i, axis) + reach, this.counts[axis] - 1)];
    const [[a0, a1], [b0, b1], [c0, c1]] = [range(0), range(1), range(2)];
    for (let a = a0; a <= a1; a++) {
      for (let b = b0; b <= b1; b++) {
        const end = this.starts[this.cell(a, b, c1) + 1];
        for (let at = this.starts[this.cell(a, b, c0)]; at < end; at++) {
          const k = this.order[at];
          const distance = (points[3 * k] - x) ** 2 + (points[3 * k + 1] - y) ** 2 + (points[3 * k + 2] - z) ** 2;
          if (apart.length === NEIGHBOURS && distance >= apart[NEIGHBOURS - 1]) continue;
          let place = Math.min(apart.length, NEIGHBOURS - 1);
          for (; place > 0 && apart[place - 1] > distance; place--) {
            apart[place] = apart[place - 1];
            chosen[place] = chosen[place - 1];
          }
          apart[place] = distance;
          chosen[place] = k;
        }
      }
    }
    return chosen;
  }

  private at(i: number, axis: number): number {
    return Math.floor((this.points[3 * i + axis] - this.low[axis]) / this.side);
  }

  private cell(a: number, b: number, c: number): number {
    return (a * this.counts[1] + b) * this.counts[2] + c;
  }
}

/** The eigenvector of the smallest eigenvalue of the points' scatter, by power iteration. */
function leastDirection(points: Float32Array, chosen: number[]): [number, number, number] {
  const mean = [0, 0, 0];
  for (const i of chosen) for (let a = 0; a < 3; a++) mean[a] += points[3 * i + a] / chosen.length;
  const s = new Float64Array(9);
  for (const i of chosen)
    for (let a = 0; a < 3; a++)
      for (let b = 0; b < 3; b++) s[3 * a + b] += (points[3 * i + a] - mean[a]) * (points[3 * i + b] - mean[b]);
  const trace = s[0] + s[4] + s[8];
  // The largest eigenvector of trace * 1 - scatter is the smallest of the scatter
  for (let k = 0; k < 9; k++) s[k] = (k % 4 === 0 ? trace : 0) - s[k];
  for (let squared = 0; squared < 6; squared++) square(s);
  let [x, y, z] = [0, 0, 1];
  let best = 0;
  for (let column = 0; column < 3; column++) {
    const [u, v, w] = [s[column], s[3 + column], s[6 + column]];
    const length = Math.hypot(u, v, w);
    if (length > best) [x, y, z, best] = [u / length, v / length, w / length, length];
  }
  return [x, y, z];
}

/** Square a symmetric matrix in place and divide it by its largest entry. */
function square(s: Float64Array): void {
  const t = new Float64Array(9);
  for (let a = 0; a < 3; a++)
    for (let b = 0; b < 3; b++) for (let c = 0; c < 3; c++) t[3 * a + b] += s[3 * a + c] * s[3 * c + b];
  const largest = t.reduce((m, value) => Math.max(m, Math.abs(value)), 1e-300);
  for (let k = 0; k < 9; k++) s[k] = t[k] / largest;
}
