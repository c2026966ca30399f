import { CALL_CELLS, CALL_CELLS_END } from "../layout.ts";

/** The first cell is always 0: calls whose target got none. */
const NO_CELL = CALL_CELLS;

/**
 * What the code of all regions of a machine counts on: the cells in which calls look for their target's region, and the
 * numbers of the helpers that modules import. Both are only ever added to, in one order, so that code made at different
 * times, or in another thread, fits together.
 */
export class RegionLinks {
  /** Targets of direct calls, in the order of their cells. */
  readonly targets: number[] = [];
  /** Helpers, in the order in which modules of regions import them. */
  readonly helpers: string[] = [];
  /** Does relaxed_madd round once here? Undefined as long as no region has asked. */
  fuses: boolean | undefined;
  readonly #cells = new Map<number, number>();
  readonly #numbers = new Map<string, number>();

  /** The word where direct calls of an address look for its region. */
  callCell(address: number): number {
    const known = this.#cells.get(address);
    if (known !== undefined) return known;
    const cell = CALL_CELLS + (this.targets.length + 1) * 4;
    if (cell >= CALL_CELLS_END) return NO_CELL;
    this.#cells.set(address, cell);
    this.targets.push(address);
    return cell;
  }

  /** The cell of an address, if it has one. */
  cellOf(address: number): number | undefined {
    return this.#cells.get(address);
  }

  /** Index of a helper among those that regions call. */
  helper(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.helpers.length);
    return this.helpers.push(name) - 1;
  }
}
