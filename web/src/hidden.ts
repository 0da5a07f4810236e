// Which keys a query may not look at, by the mask; on them there is no weight, whatever their block has.

import type { HiddenPairs, Payload } from "./payload";

export class Hidden {
  private constructor(
    private readonly rows: number, private readonly columns: number, private readonly stretches: Uint32Array | null,
    private readonly bits: Uint8Array | null,
  ) {}

  static async of(payload: Payload, pairs: HiddenPairs | undefined, rows: number, columns: number): Promise<Hidden> {
    const { stretches = null, bits = null } = pairs ?? {};
    return new Hidden(
      rows, columns, stretches && new Uint32Array(await payload.piece(stretches)),
      bits && new Uint8Array(await payload.piece(bits)),
    );
  }

  has(row: number, column: number): boolean {
    if (this.stretches) return column < this.stretches[row] || column >= this.stretches[this.rows + row];
    return this.bits !== null && ((this.bits[row * ((this.columns + 7) >> 3) + (column >> 3)] >> (column & 7)) & 1) === 1;
  }
}
