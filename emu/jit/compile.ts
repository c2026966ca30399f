import { EXIT } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import { SLOW_SIGNATURE } from "../interpreter/core-module.ts";
import type { HelperLibrary } from "../interpreter/helper-library.ts";
import { RECORD } from "../interpreter/record.ts";
import { translatedModule } from "../interpreter/translated-module.ts";
import { LOOKUP_BITS, LOOKUP_TABLE } from "../layout.ts";
import { callIndirect, I32, type I32Expr, type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import { flagsBefore, flagsOut, type Region, type RegionBlock } from "./region.ts";
import { type BlockUse, type Knowledge, RegionTranslator, type RegisterMask, WAY } from "./region-translator.ts";
import { ALL_REGISTERS, NOTHING_KNOWN, type RegisterFlow, registerFlow } from "./register-flow.ts";

/** Guest calls that may stand on V8's stack at a time; beyond it the stack is emptied. */
const MAX_DEPTH = 200;
const SLOT_MASK = (1 << LOOKUP_BITS) - 1;

/** How a region is compiled. */
export interface CompileOptions {
  /** Accesses that the fast check refuses go through the shared slow path instead of leaving the region. */
  readonly patient: boolean;
  readonly helpers: HelperLibrary;
  /** Address of the word that holds the table slot of the region at a guest address, or 0. */
  readonly callCell: (address: number) => number;
}

/**
 * The module with a region's function, which goes to table slot `slot`.
 * @param id what the function stores as the exit's record, to tell who left
 */
export function compileRegion(region: Region, slot: number, id: number, options: CompileOptions): Uint8Array {
  // The first pass finds out what the blocks do to registers, the second makes the code.
  const uses = new Map<RegionBlock, BlockUse>();
  const nowhere = { slow: 0, helper: () => 0 };
  new RegionEmitter(region, id, options, nowhere, NOTHING_KNOWN, ALL_REGISTERS).emit(uses);
  const flow = registerFlow(region, uses);
  const module = translatedModule();
  const slow = module.import("slowPlain", SLOW_SIGNATURE);
  const helpers = new Map<string, number>();
  const helper = (name: string): number => {
    let index = helpers.get(name);
    if (index === undefined) {
      index = options.helpers.importInto(module, name);
      helpers.set(name, index);
    }
    return index;
  };
  const emitter = new RegionEmitter(region, id, options, { slow, helper }, flow, flow.used);
  emitter.emit(new Map());
  module.place(slot, [module.add(emitter.translator, [I32])]);
  return module.finish();
}

interface Scope {
  readonly block: RegionBlock;
  readonly label: Label;
}

/** Writes a region as structured code: Ramsey, "Beyond Relooper", over the dominator tree. */
class RegionEmitter {
  readonly translator: RegionTranslator;
  readonly #region: Region;
  readonly #id: number;
  readonly #flow: RegisterFlow;
  #uses = new Map<RegionBlock, BlockUse>();
  readonly #callCell: (address: number) => number;
  readonly #merges: Map<RegionBlock, RegionBlock[]>;
  #scopes: Scope[] = [];

  constructor(
    region: Region,
    id: number,
    options: CompileOptions,
    imports: { slow: number; helper: (name: string) => number },
    flow: RegisterFlow,
    known: RegisterMask,
  ) {
    this.#region = region;
    this.#id = id;
    this.#flow = flow;
    this.#callCell = options.callCell;
    this.translator = new RegionTranslator({ ...imports, patient: options.patient }, known);
    this.#merges = new Map();
    for (const block of region.blocks) {
      if (!block.isMerge || block === region.entry) continue;
      const list = this.#merges.get(block.dominator);
      if (list === undefined) this.#merges.set(block.dominator, [block]);
      else list.push(block);
    }
  }

  /** @param uses takes what each block does to registers */
  emit(uses: Map<RegionBlock, BlockUse>): void {
    const t = this.translator;
    const { entry } = this.#region;
    this.#uses = uses;
    t.loadRegisters(this.#flow.liveIn(entry), entry.flagsIn !== 0);
    t.plainBlock((exit) => {
      t.exitLabel = exit;
      this.#tree(entry, freshKnowledge());
      t.unreachable();
    });
    this.#leave();
  }

  /** The common end: on to wherever RIP is; the registers are in memory already. */
  #leave(): void {
    const t = this.translator;
    const cpu = t.stateAddress();
    t.storeInt(64, cpu, t.fuel, STATE.fuel);
    t.storeInt(64, cpu, t.rip, STATE.rip);
    t.storeI32(cpu, i32.const(this.#id), STATE.exitRecord);
    t.storeI32(cpu, i32.const(0), STATE.exitDetail);
    t.plainIf(i32.eq(t.way, i32.const(WAY.exit)), () => t.return(t.status));
    const depth = t.let(i32.load(cpu, STATE.depth));
    t.plainIf(i64.ltS(t.fuel, i64.const(0)), () => t.return(i32.const(EXIT.branch)));
    const slot = t.let(slotOf(t.rip));
    t.plainIf(i64.eq(i64.load(slot, LOOKUP_TABLE), t.rip), () => {
      const record = t.let(i32.load(slot, LOOKUP_TABLE + 8));
      const region = t.let(i32.load(slot, LOOKUP_TABLE + 12));
      t.plainIf(region, () => t.returnCallIndirect(0, [cpu, record], region));
      // Under a caller the interpreter would run on in its place: the stack is emptied first.
      t.plainIf(i32.and(i32.eqz(depth), i32.ne(record, i32.const(0))), () =>
        t.returnCallIndirect(0, [cpu, record], i32.load(record, RECORD.handler)),
      );
    });
    t.return(i32.const(EXIT.branch));
  }

  /** A block and all that it dominates. */
  #tree(block: RegionBlock, knowledge: Knowledge): void {
    const merges = [...(this.#merges.get(block) ?? [])].sort((a, b) => b.index - a.index);
    if (!block.isLoopHeader) {
      this.#within(block, merges, knowledge);
      return;
    }
    this.translator.plainLoop((label) => {
      this.#scopes.push({ block, label });
      this.#within(block, merges, freshKnowledge());
      this.#scopes.pop();
    });
  }

  /** A block inside the scopes of the merge blocks that follow it; the outermost scope is the last to follow. */
  #within(block: RegionBlock, merges: readonly RegionBlock[], knowledge: Knowledge): void {
    const [first, ...rest] = merges;
    if (first === undefined) {
      this.#block(block, knowledge);
      return;
    }
    this.translator.plainBlock((label) => {
      this.#scopes.push({ block: first, label });
      this.#within(block, rest, knowledge);
      this.#scopes.pop();
    });
    this.#tree(first, freshKnowledge());
  }

  #block(block: RegionBlock, knowledge: Knowledge): void {
    const t = this.translator;
    t.begin(knowledge, this.#flow.dirtyIn(block));
    this.#uses.set(block, t.use);
    if (block.isLoopHeader || block === this.#region.entry) {
      t.plainIf(i64.ltS(t.fuel, i64.const(0)), () =>
        t.exit(addressOf(block), WAY.branch, EXIT.branch, block.flagsIn !== 0),
      );
    }
    const count = block.instructions.length;
    t.set(t.fuel, i64.sub(t.fuel, i64.const(count)));
    const liveAfter: number[] = [];
    let live = flagsOut(block, this.#region.flagsDieAtCalls);
    for (let i = count - 1; i >= 0; i--) {
      liveAfter[i] = live;
      live = flagsBefore(block.instructions[i].instruction, live);
    }
    for (const [i, { instruction, row }] of block.instructions.entries()) {
      t.translate(instruction, row.emit, liveAfter[i], count - i);
    }
    this.#end(block);
  }

  #end(block: RegionBlock): void {
    const t = this.translator;
    const { terminator } = t;
    if (block.end === "next") {
      this.#go(block, block.next);
      return;
    }
    if (terminator === undefined) {
      // It always faults, and has left already.
      t.unreachable();
      return;
    }
    switch (terminator.kind) {
      case "direct":
        if (block.end === "call") this.#call(block, i64.const(BigInt(block.target as number)));
        else this.#go(block, block.target);
        return;
      case "conditional":
        this.#branch(block, terminator.condition);
        return;
      case "indirect":
        if (block.end === "call") this.#call(block, terminator.target);
        else if (isReturn(block)) this.#return(terminator.target);
        else {
          t.settleFlags();
          t.exit(terminator.target, WAY.branch, EXIT.branch, true);
        }
        return;
      case "leave":
        t.settleFlags();
        t.exit(terminator.past ? t.nextAddress() : t.currentAddress(), WAY.exit, terminator.exit, true);
    }
  }

  /** Back to the caller, if one waits on the stack; that one looks whether RIP is where it wants to go on. */
  #return(target: I64Expr): void {
    const t = this.translator;
    const cpu = t.stateAddress();
    const flags = !this.#region.flagsDieAtCalls;
    if (flags) t.settleFlags();
    t.plainIf(i32.load(cpu, STATE.depth), () => {
      t.storeRegisters(flags);
      t.storeInt(64, cpu, t.fuel, STATE.fuel);
      t.storeInt(64, cpu, target, STATE.rip);
      t.return(i32.const(EXIT.branch));
    });
    t.exit(target, WAY.branch, EXIT.branch, flags);
  }

  #branch(block: RegionBlock, condition: I32Expr): void {
    const t = this.translator;
    const { knowledge, dirty } = t;
    t.plainIf(
      condition,
      () => {
        t.restore(copyOf(knowledge), dirty);
        this.#go(block, block.target);
      },
      () => {
        t.restore(copyOf(knowledge), dirty);
        this.#go(block, block.next);
      },
    );
  }

  /** On to an address: a block of the region, or out of it. */
  #go(from: RegionBlock, address: number | undefined): void {
    const t = this.translator;
    const to = from.successors.find((successor) => successor.address === address);
    if (to === undefined) {
      t.settleFlags();
      t.exit(i64.const(BigInt(address as number)), WAY.branch, EXIT.branch, true);
      return;
    }
    const scope = this.#scopes.findLast((candidate) => candidate.block === to);
    const goesBack = to.index <= from.index;
    if (goesBack || to.isMerge) {
      if (to.flagsIn !== 0) t.settleFlags();
      if (scope === undefined) throw new Error("a branch without a scope");
      t.branch(scope.label);
      return;
    }
    if (to.isLoopHeader && to.flagsIn !== 0) t.settleFlags();
    this.#tree(to, copyOf(t.knowledge));
  }

  /** Table slot of the region at a computed address; 0 if there is none. */
  #lookUp(address: I64Expr): I32Expr {
    const t = this.translator;
    const slot = t.let(slotOf(address));
    const same = i64.eq(i64.load(slot, LOOKUP_TABLE), address);
    return t.let(select(same, i32.load(slot, LOOKUP_TABLE + 12), i32.const(0)));
  }

  /** A guest call: the target's region is called, if it has one, and the return address compared when it is back. */
  #call(block: RegionBlock, target: I64Expr): void {
    const t = this.translator;
    const cpu = t.stateAddress();
    const flags = !this.#region.flagsDieAtCalls;
    if (flags) t.settleFlags();
    const pc = t.let(target);
    const region =
      pc.value === undefined ? this.#lookUp(pc) : t.let(i32.load(i32.const(this.#callCell(Number(pc.value)))));
    const depth = t.let(i32.load(cpu, STATE.depth));
    const busy = i32.or(i32.geU(depth, i32.const(MAX_DEPTH)), i64.ltS(t.fuel, i64.const(0)));
    t.plainIf(i32.or(i32.eqz(region), busy), () => t.exit(pc, WAY.branch, EXIT.branch, flags));
    t.storeRegisters(flags);
    t.storeInt(64, cpu, t.fuel, STATE.fuel);
    t.storeInt(64, cpu, pc, STATE.rip);
    t.storeI32(cpu, i32.add(depth, i32.const(1)), STATE.depth);
    const status = t.let(callIndirect(I32, 0, [cpu, i32.const(0)], region));
    t.storeI32(cpu, depth, STATE.depth);
    const back = addressOf({ address: block.next as number });
    const elsewhere = i32.or(status, i64.ne(i64.load(cpu, STATE.rip), back));
    // The state is in memory already.
    t.plainIf(elsewhere, () => {
      t.storeI32(cpu, i32.const(0), STATE.exitDetail);
      t.return(status);
    });
    const next = block.successors.find(({ address }) => address === block.next);
    t.loadRegisters(next === undefined ? 0 : this.#flow.liveIn(next), next === undefined || next.flagsIn !== 0);
    t.dirty = 0;
    t.knowledge = freshKnowledge();
    this.#go(block, block.next);
  }
}

const slotOf = (address: I64Expr): I32Expr => i32.shl(i32.and(i32.wrap(address), i32.const(SLOT_MASK)), i32.const(4));

const addressOf = ({ address }: { address: number }): I64Expr => i64.const(BigInt(address));

function isReturn(block: RegionBlock): boolean {
  return block.instructions[block.instructions.length - 1].row.returns;
}

function freshKnowledge(): Knowledge {
  return { pending: { kind: "words" }, origins: new Map(), checked: new Map() };
}

function copyOf(knowledge: Knowledge): Knowledge {
  return { pending: knowledge.pending, origins: new Map(knowledge.origins), checked: new Map(knowledge.checked) };
}
