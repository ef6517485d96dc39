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

/** Points in cells of a size at which a block of 27 holds the neighbours. */
class Grid {
  private readonly cells = new Map<number, number[]>();
  private readonly low = [Infinity, Infinity, Infinity];
  private readonly side: number;

  constructor(
    private readonly points: Float32Array,
    count: number,
  ) {
    const high = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < points.length; i++) {
      this.low[i % 3] = Math.min(this.low[i % 3], points[i]);
      high[i % 3] = Math.max(high[i % 3], points[i]);
    }
    const extent = Math.max(...high.map((end, axis) => end - this.low[axis]), 1e-6);
    this.side = (extent * 1.5) / Math.sqrt(count / 4);
    for (let i = 0; i < count; i++) {
      const key = this.key(...this.cellOf(i));
      const cell = this.cells.get(key);
      if (cell) cell.push(i);
      else this.cells.set(key, [i]);
    }
  }

  nearest(i: number): number[] {
    const [x, y, z] = this.cellOf(i);
    let found: number[] = [];
    for (let reach = 1; found.length < NEIGHBOURS && reach < 6; reach++) {
      found = [];
      for (let a = -reach; a <= reach; a++)
        for (let b = -reach; b <= reach; b++)
          for (let c = -reach; c <= reach; c++) {
            const cell = this.cells.get(this.key(x + a, y + b, z + c));
            if (cell) found.push(...cell);
          }
    }
    const distance = (k: number) => {
      let total = 0;
      for (let axis = 0; axis < 3; axis++) total += (this.points[3 * k + axis] - this.points[3 * i + axis]) ** 2;
      return total;
    };
    const apart = new Map(found.map((k) => [k, distance(k)]));
    return found.sort((a, b) => apart.get(a)! - apart.get(b)!).slice(0, NEIGHBOURS);
  }

  private cellOf(i: number): [number, number, number] {
    const at = (axis: number) => Math.floor((this.points[3 * i + axis] - this.low[axis]) / this.side);
    return [at(0), at(1), at(2)];
  }

  private key(x: number, y: number, z: number): number {
    return ((x + 8) * 4096 + (y + 8)) * 4096 + (z + 8);
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
