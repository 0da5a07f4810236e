// One head's map, wherever its weights come from: kept keys, query and key, or the means of its blocks alone.

import { Hidden } from "./hidden";
import type { Chart, Panel, Payload, Place } from "./payload";

export interface Weight {
  value: number;
  exact: boolean;
}

/** A map that the viewer can draw at any zoom and the words can ask about. */
export interface HeadMap {
  readonly rows: number;
  readonly columns: number;
  /** The means of blocks, each the root of its share of `peak` in 255 steps. */
  readonly means: Uint8Array;
  readonly tiles: [number, number];
  readonly block: [number, number];
  readonly peak: number;
  /** The largest weight that colors are drawn for at full zoom. */
  readonly top: number;
  /** Whether single weights are known, so that zooming in shows more than the means. */
  readonly detailed: boolean;
  weight(row: number, column: number): Weight;
  row(row: number): Float32Array | null;
  column(column: number): Float32Array | null;
  /** Sums over cells of `size` x `size` weights: a row of a tile, from a column on. */
  sums(row: number, column: number, size: number, into: Float32Array): void;
}

/** Weights that are all at hand: the strongest exactly, the others as what their block has left for them. */
export class DenseMap implements HeadMap {
  readonly detailed = true;
  readonly top: number;

  constructor(
    readonly rows: number, readonly columns: number, readonly values: Float32Array, readonly known: Uint8Array,
    readonly means: Uint8Array, readonly tiles: [number, number], readonly block: [number, number], readonly peak: number,
  ) {
    this.top = values.reduce((most, value) => Math.max(most, value), 1e-6);
  }

  weight(row: number, column: number): Weight {
    const place = row * this.columns + column;
    return { value: this.values[place], exact: this.known[place] === 1 };
  }

  row(row: number): Float32Array {
    return this.values.subarray(row * this.columns, (row + 1) * this.columns);
  }

  column(column: number): Float32Array {
    return Float32Array.from({ length: this.rows }, (_, row) => this.values[row * this.columns + column]);
  }

  sums(row: number, column: number, size: number, into: Float32Array): void {
    const last = Math.min(row + size, this.rows);
    for (let y = row; y < last; y++) {
      const end = Math.min(column + into.length * size, this.columns);
      for (let x = column; x < end; x++) into[Math.floor((x - column) / size)] += this.values[y * this.columns + x];
    }
  }

  /** Merge tokens into words: the keys of a word are summed, its queries averaged. */
  merged(rows: number[][], columns: number[][]): DenseMap {
    const values = new Float32Array(rows.length * columns.length);
    const known = new Uint8Array(values.length);
    rows.forEach((queries, y) => columns.forEach((keys, x) => {
      let sum = 0;
      let exact = 1;
      for (const query of queries) for (const key of keys) {
        sum += this.values[query * this.columns + key];
        exact &= this.known[query * this.columns + key];
      }
      values[y * columns.length + x] = sum / queries.length;
      known[y * columns.length + x] = exact;
    }));
    const peak = values.reduce((most, value) => Math.max(most, value), 1e-9);
    const means = Uint8Array.from(values, (value) => Math.round(255 * Math.sqrt(value / peak)));
    return new DenseMap(rows.length, columns.length, values, known, means, [rows.length, columns.length], [1, 1], peak);
  }
}

/** Weights that are computed where they are looked at, from query and key. */
export class ComputedMap implements HeadMap {
  readonly detailed = true;
  readonly top = 1;

  constructor(
    readonly rows: number, readonly columns: number, readonly means: Uint8Array, readonly tiles: [number, number],
    readonly block: [number, number], readonly peak: number, private readonly width: number,
    private readonly cap: number | null, private readonly query: Int8Array, private readonly key: Int8Array,
    private readonly queryScale: Float32Array, private readonly keyScale: Float32Array,
    private readonly logSums: Float32Array, private readonly distances: Float32Array | null,
    private readonly hidden: Hidden,
  ) {}

  private at(row: number, column: number): number {
    if (this.hidden.has(row, column)) return 0;
    const { query, key, width } = this;
    let product = 0;
    for (let q = row * width, k = column * width, end = q + width; q < end; q++, k++) product += query[q] * key[k];
    let score = product * this.queryScale[row] * this.keyScale[column];
    if (this.cap !== null) score = this.cap * Math.tanh(score / this.cap);
    if (this.distances) score += this.distances[column - row + this.rows - 1];
    return Math.exp(score - this.logSums[row]);
  }

  weight(row: number, column: number): Weight {
    return { value: this.at(row, column), exact: true };
  }

  row(row: number): Float32Array {
    return Float32Array.from({ length: this.columns }, (_, column) => this.at(row, column));
  }

  column(column: number): Float32Array {
    return Float32Array.from({ length: this.rows }, (_, row) => this.at(row, column));
  }

  sums(row: number, column: number, size: number, into: Float32Array): void {
    const last = Math.min(row + size, this.rows);
    const end = Math.min(column + into.length * size, this.columns);
    for (let y = row; y < last; y++)
      for (let x = column; x < end; x++) into[Math.floor((x - column) / size)] += this.at(y, x);
  }
}

/** A head of which the page knows the means of its blocks only. */
export class MeansMap implements HeadMap {
  readonly detailed = false;
  readonly top: number;

  constructor(
    readonly rows: number, readonly columns: number, readonly means: Uint8Array, readonly tiles: [number, number],
    readonly block: [number, number], readonly peak: number, private readonly hidden: Hidden,
  ) {
    this.top = peak;
  }

  /** Nothing where it is hidden, else the mean of those of its block that are not. */
  weight(row: number, column: number): Weight {
    if (this.hidden.has(row, column)) return { value: 0, exact: true };
    const [high, wide] = this.block;
    const [top, left] = [row - (row % high), column - (column % wide)];
    let [area, seen] = [0, 0];
    for (let y = top; y < Math.min(top + high, this.rows); y++)
      for (let x = left; x < Math.min(left + wide, this.columns); x++) {
        area++;
        if (!this.hidden.has(y, x)) seen++;
      }
    const mean = this.peak * (this.means[(top / high) * this.tiles[1] + left / wide] / 255) ** 2;
    return { value: (mean * area) / seen, exact: false };
  }

  row(): null {
    return null;
  }

  column(): null {
    return null;
  }

  sums(): void {}
}

/** Make the map of a head of what the page has of it. */
export async function mapOf(payload: Payload, panel: Panel, chart: Chart, allMeans: Uint8Array): Promise<HeadMap> {
  const [rows, columns] = [panel.rows.tokens.length, (panel.columns ?? panel.rows).tokens.length];
  const size = panel.tiles[0] * panel.tiles[1];
  const place = panel.charts.indexOf(chart);
  const means = allMeans.subarray(place * size, (place + 1) * size);
  const hidden = await Hidden.of(payload, chart.hidden, rows, columns);
  if (chart.exact) {
    const { exact } = chart;
    const floats = async (at: Place | null) => (at ? new Float32Array(await payload.piece(at)) : null);
    return new ComputedMap(
      rows, columns, means, panel.tiles, panel.block, chart.peak, exact.width, exact.cap,
      new Int8Array(await payload.piece(exact.query)), new Int8Array(await payload.piece(exact.key)),
      (await floats(exact.query_scale))!, (await floats(exact.key_scale))!, (await floats(exact.log_sums))!,
      await floats(exact.distances), hidden,
    );
  }
  if (!chart.keys || !chart.weights) return new MeansMap(rows, columns, means, panel.tiles, panel.block, chart.peak, hidden);
  const keys = new Uint16Array(await payload.piece(chart.keys));
  const weights = Float32Array.from(new Uint16Array(await payload.piece(chart.weights)), (weight) => weight / payload.header.whole);
  const rests = new Float32Array(await payload.piece(chart.rests!));
  return filled({ rows, columns, keys, weights, rests, hidden, means }, panel, chart);
}

/** What is known of a head of a short text: of each query the strongest keys, and what all others have together. */
interface Kept {
  rows: number;
  columns: number;
  keys: Uint16Array;
  weights: Float32Array;
  rests: Float32Array;
  hidden: Hidden;
  means: Uint8Array;
}

const NOTHING = 5e-4; // what the others of a query have together, below which they have nothing

function filled({ rows, columns, keys, weights, rests, hidden, means }: Kept, panel: Panel, chart: Chart): DenseMap {
  const kept = chart.kept!;
  const values = new Float32Array(rows * columns);
  const known = new Uint8Array(rows * columns);
  const [high, wide] = panel.block;
  const left = new Float64Array(means.length);
  const free = new Float64Array(means.length);
  const block = (row: number, column: number) => Math.floor(row / high) * panel.tiles[1] + Math.floor(column / wide);
  for (let place = 0; place < means.length; place++) {
    const row = Math.floor(place / panel.tiles[1]);
    const column = place % panel.tiles[1];
    const area = Math.min(high, rows - row * high) * Math.min(wide, columns - column * wide);
    left[place] = area * chart.peak * (means[place] / 255) ** 2;
  }
  for (let row = 0; row < rows; row++) {
    for (let place = row * kept; place < (row + 1) * kept; place++) {
      if (weights[place] === 0) break; // strongest first; a cache that held fewer keys leaves room at the end
      const cell = row * columns + keys[place];
      values[cell] = weights[place];
      known[cell] = 1;
      left[block(row, keys[place])] -= weights[place];
    }
    // A row whose kept keys are all of it has nothing elsewhere, and no row has anything on a key that is hidden.
    const all = rests[row] < NOTHING || kept === columns || weights[(row + 1) * kept - 1] === 0;
    for (let column = 0; column < columns; column++) {
      if (all || hidden.has(row, column)) known[row * columns + column] = 1;
      if (!known[row * columns + column]) free[block(row, column)]++;
    }
  }
  // The others of a query get what their blocks have left, in such parts that together they have what they have.
  for (let row = 0; row < rows; row++) {
    const others: number[] = [];
    let sum = 0;
    for (let column = 0; column < columns; column++) {
      const cell = row * columns + column;
      if (known[cell]) continue;
      const at = block(row, column);
      others.push(cell);
      sum += values[cell] = Math.max(0, left[at]) / free[at];
    }
    const most = weights[(row + 1) * kept - 1]; // no other key has more than the weakest of the strongest
    for (const cell of others)
      values[cell] = Math.min(most, sum > 0 ? (values[cell] * rests[row]) / sum : rests[row] / others.length);
  }
  return new DenseMap(rows, columns, values, known, means, panel.tiles, panel.block, chart.peak);
}
