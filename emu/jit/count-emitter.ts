import type { Instruction } from "../decode/instruction.ts";
import {
  blockCounter,
  COUNT_CELL,
  COUNT_NODE,
  type CountLayout,
  CountPlaces,
  callCell,
} from "../interpreter/region-counts.ts";
import { call, I32, type I32Expr, I64, type I64Expr, i32, i64, type LocalRef } from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import type { Region, RegionBlock } from "./region.ts";
import { COUNT_CALL, COUNT_REPLACE, COUNT_RESUMED } from "./region-module.ts";
import type { RegionTranslator } from "./region-translator.ts";

const NOWHERE = i32.const(0);

/** Adds to a region's code that it counts what it runs (region-counts.ts). */
export class CountEmitter {
  readonly #t: RegionTranslator;
  readonly #places: CountPlaces;
  readonly #node: LocalRef<typeof I32>;
  /** Number of the block under translation. */
  #block = 0;

  constructor(t: RegionTranslator, region: Region, ids: Pick<CountLayout, "id" | "slot" | "start">) {
    const blocks = region.blocks.filter(({ end }) => end !== "dispatch");
    const instructions = blocks.map((block) => block.instructions.map(({ instruction }) => instruction));
    this.#t = t;
    this.#places = new CountPlaces(ids, instructions, (i) => blocks[i].end === "call");
    this.#node = t.fixedLocal(I32);
  }

  get layout(): CountLayout {
    return this.#places.layout;
  }

  /** At the start of the function: takes over the node that it was entered with. */
  enter(): void {
    const t = this.#t;
    const node = this.#node;
    const { id, start } = this.layout;
    t.set(node, i32.load(NOWHERE, COUNT_CELL.entered));
    const replace = (): void => {
      t.set(node, call(I32, COUNT_REPLACE, [node, i32.const(id)]));
      // Without one it goes on where it is, after a look by whoever keeps the nodes.
      t.plainIf(i32.eqz(node), () => t.return(i32.const(start), t.fuel), undefined, false);
    };
    t.plainIf(i32.ne(i32.load(node, COUNT_NODE.layout), i32.const(id)), replace, undefined, false);
    t.storeInt(64, node, t.param(3, I64), COUNT_NODE.rsp);
  }

  /** A block's instructions are about to run. */
  begin(block: RegionBlock): void {
    this.#block = this.#places.blockAt(block.address);
    this.#add(blockCounter(this.#block), i64.const(1));
  }

  /** A string instruction goes on with so many elements. */
  repeat(instruction: Instruction, count: I64Expr): void {
    this.#add(this.#places.repeatCounter(instruction), count);
  }

  #add(offset: number, count: I64Expr): void {
    const t = this.#t;
    t.storeInt(64, this.#node, i64.add(i64.load(this.#node, offset), count), offset);
  }

  /** The region is about to be left before an instruction of the block, which has been counted in full. */
  leaveWithin(): void {
    this.#t.storeI32(NOWHERE, i32.const(this.#block + 1), COUNT_CELL.partial);
  }

  /** The region is about to be left behind the block. */
  leaveBehind(): void {
    this.#t.storeI32(NOWHERE, i32.const(this.#block + 1), COUNT_CELL.block);
  }

  /** The region is left. */
  leave(): void {
    this.#t.storeI32(NOWHERE, this.#node, COUNT_CELL.left);
  }

  /**
   * The block's call is about to call a region.
   * @param isKnown the target is the same each time
   * @param noRegion where to go if there is no node for it
   */
  pass(target: I32Expr, isKnown: boolean, noRegion: Label): void {
    const t = this.#t;
    const site = this.#places.siteOf(this.#block);
    const child = t.local(I32);
    t.set(child, i32.load(this.#node, callCell(this.layout, site)));
    const find = (): void => {
      t.set(child, call(I32, COUNT_CALL, [this.#node, i32.const(site), target]));
      t.branchIf(noRegion, i32.eqz(child), false);
    };
    t.plainIf(
      i32.eqz(child),
      find,
      isKnown
        ? undefined
        : () => {
            t.plainIf(i32.ne(i32.load(child, COUNT_NODE.start), target), find, undefined, false);
          },
      false,
    );
    t.storeI32(NOWHERE, child, COUNT_CELL.entered);
  }

  /** What the block has called otherwise is over, and so may be the region's own part. */
  resumed(cpu: I32Expr, back: I32Expr, otherwise: () => void): void {
    this.#t.plainIf(i32.eqz(call(I32, COUNT_RESUMED, [cpu, back, this.#node])), otherwise, undefined, false);
  }
}
