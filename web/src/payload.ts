// What a page or a notebook hands over: words and places as data, numbers as deflated pieces.

export type Place = [start: number, length: number];

export interface Patches {
  pixels: Place;
  size: [number, number];
  grid: [number, number];
  first: number;
}

export interface Side {
  tokens: string[];
  words: number[] | null;
  spelled: string[] | null;
  rtl: boolean;
  patches: Patches | null;
}

export interface ExactChart {
  width: number;
  cap: number | null;
  error: number;
  query: Place;
  key: Place;
  query_scale: Place;
  key_scale: Place;
  log_sums: Place;
  distances: Place | null;
}

/** What is hidden: of each query the stretch of keys that it may see, or a bit for each pair that may not look. */
export interface HiddenPairs {
  stretches: Place | null;
  bits: Place | null;
}

export interface Chart {
  layer: number;
  head: number;
  peak: number;
  kept?: number;
  keys?: Place;
  weights?: Place;
  rests?: Place;
  dropped?: [number, number];
  hidden?: HiddenPairs;
  exact?: ExactChart;
  belief?: string;
}

export interface Panel {
  name: string;
  rows: Side;
  columns: Side | null;
  block: [number, number];
  tiles: [number, number];
  means: Place;
  layers: string[];
  charts: Chart[];
  refused: string[];
}

export interface Header {
  title: string;
  whole: number;
  panels: Panel[];
}

/** The pieces, inflated when they are asked for. */
export class Payload {
  constructor(readonly header: Header, private readonly bytes: Uint8Array<ArrayBuffer>) {}

  async piece([start, length]: Place): Promise<ArrayBuffer> {
    const stream = new Blob([this.bytes.subarray(start, start + length)]).stream();
    return new Response(stream.pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  }
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const raw = atob(text.trim());
  const bytes = new Uint8Array(raw.length);
  for (let place = 0; place < raw.length; place++) bytes[place] = raw.charCodeAt(place);
  return bytes;
}
