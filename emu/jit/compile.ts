import { EXIT } from "../cpu/exits.ts";
import { REG, STATE } from "../cpu/state.ts";
import type { Instruction } from "../decode/instruction.ts";
import type { CountLayout } from "../interpreter/region-counts.ts";
import { REGION_SLOTS } from "../interpreter/slots.ts";
import { LOOKUP_BITS, LOOKUP_TABLE } from "../layout.ts";
import {
  call,
  callIndirect,
  I32,
  type I32Expr,
  type I64Expr,
  i32,
  i64,
  LateCall,
  LateConst,
  type LocalRef,
  select,
} from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import type { FunctionBody } from "../wasm/module.ts";
import { CountEmitter } from "./count-emitter.ts";
import { checkable, copyOf, isToBeChecked, type Knowledge, meet, nothingKnown, throughLoop } from "./knowledge.ts";
import { flagsBehind } from "./live-flags.ts";
import { loopOf } from "./loops.ts";
import { dominates, type Region, type RegionBlock } from "./region.ts";
import { type CallSite, FIRST_HELPER, GO_ON, INDEX_BYTES, SLOT_BYTES, SLOW, TIMESTAMP } from "./region-module.ts";
import { type RegionImports, RegionTranslator } from "./region-translator.ts";
import { ALL_REGISTERS, IN_REGISTERS, type RegisterFlow, registerFlow } from "./register-flow.ts";
import { type BlockUse, kindOf, type VectorKind } from "./register-use.ts";

const SLOT_MASK = (1 << LOOKUP_BITS) - 1;

/** How a region is compiled. */
export interface CompileOptions {
  /** Accesses that the fast check refuses go through the shared slow path instead of leaving the region. */
  readonly patient: boolean;
  /** Index of a helper among the imports that are helpers; it is given one if need be. */
  readonly helper: (name: string) => number;
  /** Does the host's relaxed_madd round once? Code that is made for either is no use with the other. */
  readonly fuses: () => boolean;
  /** Address of the word that holds the table slot of the region at a guest address, or 0. */
  readonly callCell: (address: number) => number;
  /** Number of the region's CountLayout, if it counts what it runs. */
  readonly countId?: number;
  /** Receives where what begins in the code; locals are given names then, too. */
  readonly marks?: RegionMark[];
}

/** What the code from an offset on is for, counted in bytes from the start of the function's body. */
export interface RegionMark {
  readonly offset: number;
  readonly starts: RegionBlock | Instruction | "exits";
}

/**
 * A region's function. Its second parameter is how many guest calls may still be put on V8's stack, if a caller waits
 * for it. It is negative where nobody does, or it is entered in the middle: then STATE.depth and STATE.entry tell.
 * @param id what the function stores as the exit's record, to tell who left
 */
export function compileRegion(
  region: Region,
  id: number,
  options: CompileOptions,
): { body: FunctionBody; calls: CallSite[]; counts: CountLayout | undefined } {
  const imports = importsOf(options);
  const { uses, kinds } = firstPass(region, imports);
  const flow = registerFlow(region, uses);
  const emitter = new RegionEmitter(region, options, imports, flow, kinds, uses);
  if (options.countId !== undefined) {
    const { start } = region;
    emitter.translator.counts = new CountEmitter(emitter.translator, region, {
      ...{ id: options.countId, slot: id, start: start.address },
    });
  }
  emitter.emit(id);
  if (options.marks !== undefined) emitter.finishMarks(options.marks);
  return { body: emitter.translator.body(), calls: emitter.callSites(), counts: emitter.translator.counts?.layout };
}

/** Function indices and manners of a region's code. */
const importsOf = ({ helper, fuses, patient }: CompileOptions): RegionImports => ({
  slow: SLOW,
  sharers: new Set(),
  writesLater: new Set(),
  timestamp: TIMESTAMP,
  helper: (name) => FIRST_HELPER + helper(name),
  fuses,
  patient,
});

/** Finds out what the blocks do to registers, for the code proper: instructions are translated, and thrown away. */
function firstPass(region: Region, imports: RegionImports): { uses: Map<RegionBlock, BlockUse>; kinds: VectorKind[] } {
  const uses = new Map<RegionBlock, BlockUse>();
  const whole = Array.from({ length: 16 }, (): VectorKind => "whole");
  const t = new RegionTranslator(imports, ALL_REGISTERS, whole, true);
  for (const block of region.blocks) {
    t.begin(nothingKnown(), 0);
    uses.set(block, t.use);
    const liveAfter = flagsBehind(block);
    for (const [i, { instruction, row }] of block.instructions.entries())
      t.translate(instruction, row.emit, liveAfter[i], block.instructions.length - i);
    // What the end of the block reads beside its instructions.
    if (block.end === "call") t.gpr(REG.RSP);
    if (block.table !== undefined) t.gpr(block.table.index);
  }
  return { uses, kinds: t.vectorUse.map(kindOf) };
}

interface Scope {
  readonly block: RegionBlock;
  readonly label: Label;
}

/** What is known at a branch to a block with several predecessors. */
interface Incoming {
  readonly knowledge: Knowledge;
  /** It comes from a dispatch, on the way to an entry. */
  readonly dispatched: boolean;
}

/** Writes a region as structured code: Ramsey, "Beyond Relooper", over the dominator tree. */
class RegionEmitter {
  readonly translator: RegionTranslator;
  readonly #region: Region;
  readonly #flow: RegisterFlow;
  readonly #uses: ReadonlyMap<RegionBlock, BlockUse>;
  readonly #callCell: (address: number) => number;
  readonly #marks: RegionMark[] | undefined;
  readonly #calls: { readonly target: number; readonly slot: LateConst; readonly direct: LateCall }[] = [];
  readonly #merges: Map<RegionBlock, RegionBlock[]>;
  readonly #incoming = new Map<RegionBlock, Incoming[]>();
  readonly #left: LocalRef<typeof I32>;
  /** The entry that is wanted, until it is reached; 0 then. */
  readonly #wanted: LocalRef<typeof I32>;
  /** Where a computed jump goes. */
  readonly #target: LocalRef<typeof I32>;
  #scopes: Scope[] = [];

  /** @param uses what the first pass has found out */
  constructor(
    region: Region,
    options: CompileOptions,
    imports: RegionImports,
    flow: RegisterFlow,
    kinds: readonly VectorKind[],
    uses: ReadonlyMap<RegionBlock, BlockUse>,
  ) {
    this.#region = region;
    this.#flow = flow;
    this.#uses = uses;
    this.#callCell = options.callCell;
    if (options.marks !== undefined) this.#marks = [];
    this.translator = new RegionTranslator(imports, flow.used, kinds, false);
    this.#left = this.translator.param(1, I32);
    this.#wanted = this.translator.fixedLocal(I32);
    this.#target = this.translator.fixedLocal(I32);
    this.#merges = new Map();
    for (const block of region.blocks) {
      if (!block.isMerge || block === region.root) continue;
      const list = this.#merges.get(block.dominator);
      if (list === undefined) this.#merges.set(block.dominator, [block]);
      else list.push(block);
    }
  }

  emit(id: number): void {
    const t = this.translator;
    const { root, start, blocks } = this.#region;
    t.counts?.enter();
    if (root === start) {
      if (blocks.some(({ end }) => end === "call")) t.plainIf(this.#isEntered(), () => this.#enter(), undefined, false);
      if (start.flagsIn !== 0) t.loadFlags();
      t.loadRegisters(this.#flow.validIn(start) & ~IN_REGISTERS);
    }
    this.#tree(root, nothingKnown());
    t.unreachable();
    this.#mark("exits");
    t.finishWays(id);
  }

  #mark(starts: RegionMark["starts"]): void {
    this.#marks?.push({ offset: this.translator.code.length, starts });
  }

  /** Names the locals; `marks` takes what was noted. */
  finishMarks(marks: RegionMark[]): void {
    const t = this.translator;
    t.localNames = new Map([
      ...t.registerNames(),
      [this.#left.index, "left"],
      [this.#wanted.index, "wanted"],
      [this.#target.index, "target"],
    ]);
    for (const { offset, starts } of this.#marks ?? []) marks.push({ offset: t.codeStart() + offset, starts });
  }

  /** The direct calls, once all is written. */
  callSites(): CallSite[] {
    const start = this.translator.codeStart();
    return this.#calls.map(({ target, slot, direct }) => ({
      target,
      slotAt: start + slot.at,
      indexAt: start + direct.at,
    }));
  }

  /** A block and all that it dominates. */
  #tree(block: RegionBlock, knowledge: Knowledge): void {
    const merges = [...(this.#merges.get(block) ?? [])].sort((a, b) => b.index - a.index);
    if (!block.isLoopHeader) {
      this.#within(block, merges, knowledge);
      return;
    }
    const kept = this.#throughLoop(block, knowledge);
    this.#checkModes(block, kept);
    this.translator.holding(kept, () =>
      this.translator.plainLoop((label) => {
        this.#scopes.push({ block, label });
        this.#within(block, merges, kept);
        this.#scopes.pop();
      }),
    );
  }

  /** Checks MXCSR before a loop, for what relies on it in each turn. Code that is called might change it. */
  #checkModes(header: RegionBlock, kept: Knowledge): void {
    const { body } = loopOf(header);
    const isKept = [...body].every((block) => block.end !== "call" && !this.#uses.get(block)?.changesModes);
    // A dispatch may be on the way to an entry.
    if (!isKept || header.end === "dispatch") return;
    const ends = header.predecessors.filter((block) => body.has(block));
    const always = [...body].filter((block) => ends.every((end) => dominates(block, end)));
    const wanted = always.flatMap((block) => [...(this.#uses.get(block)?.modes ?? [])]);
    const modes = new Set(wanted.filter((mode) => !kept.modes.has(mode)));
    if (modes.size === 0) return;
    const t = this.translator;
    t.restore(copyOf(kept), this.#flow.dirtyIn(header));
    t.checkAgain({ ...nothingKnown(), modes }, i32.const(header.address), t.dirty, header.flagsIn !== 0);
    for (const mode of modes) kept.modes.add(mode);
  }

  /** What is known at a loop's header, whichever way it is come by. */
  #throughLoop(header: RegionBlock, knowledge: Knowledge): Knowledge {
    let written = 0;
    let changesModes = false;
    for (const block of loopOf(header).body) {
      if (block.end === "call") return nothingKnown();
      const use = this.#uses.get(block);
      written |= use?.dirties ?? 0;
      changesModes ||= use?.changesModes ?? false;
    }
    const kept = throughLoop(knowledge, written);
    if (changesModes) kept.modes.clear();
    return kept;
  }

  /** A block inside the scopes of the merge blocks that follow it; the outermost scope is the last to follow. */
  #within(block: RegionBlock, merges: readonly RegionBlock[], knowledge: Knowledge, from = 0): void {
    const first = merges[from];
    if (first === undefined) {
      this.#block(block, knowledge);
      return;
    }
    this.translator.plainBlock((label) => {
      this.#scopes.push({ block: first, label });
      this.#within(block, merges, knowledge, from + 1);
      this.#scopes.pop();
    });
    this.#tree(first, this.#arrive(first));
  }

  /** What is known at a merge. Whoever comes from a dispatch checks here what the others know already. */
  #arrive(block: RegionBlock): Knowledge {
    const t = this.translator;
    const incoming = this.#incoming.get(block) ?? [];
    const usual = incoming.filter(({ dispatched }) => !dispatched).map(({ knowledge }) => knowledge);
    if (usual.length === incoming.length || usual.length === 0) return meet(incoming.map(({ knowledge }) => knowledge));
    // Nothing of this is kept through a loop that calls.
    const known = block.isLoopHeader ? this.#throughLoop(block, meet(usual)) : meet(usual);
    const kept = checkable(known, this.#flow.validIn(block));
    const check = (): void =>
      t.checkAgain(kept, this.#wantedAddress(block), this.#flow.dirtyIn(block), block.flagsIn !== 0);
    if (isToBeChecked(kept)) t.holding(kept, () => t.plainIf(this.#wanted, check, undefined, false));
    return kept;
  }

  /** The address that was to be entered, of whoever comes from a dispatch: perhaps inside of the loop that starts here. */
  #wantedAddress(block: RegionBlock): I32Expr {
    const address = this.translator.local(I32);
    this.translator.set(address, i32.const(block.address));
    for (const entry of this.#region.entries) {
      if (!block.ways.has(entry.entry)) continue;
      const isWanted = i32.eq(this.#wanted, i32.const(entry.entry));
      this.translator.set(address, select(isWanted, i32.const(entry.address), address));
    }
    return address;
  }

  #block(block: RegionBlock, knowledge: Knowledge): void {
    const t = this.translator;
    t.begin(knowledge, this.#flow.dirtyIn(block));
    this.#mark(block);
    if (block.end === "dispatch") {
      this.#dispatch(block);
      return;
    }
    if (block.entry !== 0) t.set(this.#wanted, i32.const(0));
    if (block.checksFuel) {
      const out = i64.ltS(t.fuel, i64.const(0));
      t.plainIf(out, () => t.goOutside(i32.const(block.address), block.flagsIn !== 0), undefined, false);
    }
    const count = block.instructions.length;
    t.set(t.fuel, i64.sub(t.fuel, i64.const(count)));
    t.counts?.begin(block);
    const liveAfter = flagsBehind(block);
    t.loadRegisters(this.#flow.readIn(block) & ~this.#flow.validIn(block));
    for (const [i, { instruction, row }] of block.instructions.entries()) {
      this.#mark(instruction);
      t.translate(instruction, row.emit, liveAfter[i], count - i);
    }
    const unseen = t.use.reads & ~(this.#flow.readIn(block) | this.#flow.validIn(block));
    if (unseen !== 0) throw new Error(`registers ${unseen} are read unseen`);
    this.#end(block);
  }

  /** Towards the entry that is wanted, or on. */
  #dispatch(block: RegionBlock): void {
    const t = this.translator;
    const { root, start, entries } = this.#region;
    const { knowledge, dirty } = t;
    const next = block.ways.get(0) as RegionBlock;
    const cpu = t.stateAddress();
    if (block === root) {
      const enter = (): void => {
        this.#enter();
        t.set(this.#wanted, i32.load(cpu, STATE.entry));
        t.storeI32(cpu, i32.const(0), STATE.entry);
        if ([start, ...entries].some(({ flagsIn }) => flagsIn !== 0)) t.loadFlags();
        t.loadRegisters(this.#flow.liveIn(root) & ~IN_REGISTERS);
        this.#choose(block, copyOf(knowledge));
      };
      t.plainIf(this.#isEntered(), enter, undefined, false);
      if (start.flagsIn !== 0) t.loadFlags();
      t.restore(copyOf(knowledge), dirty);
      this.#goTo(block, next);
      return;
    }
    t.plainIf(this.#wanted, () => this.#choose(block, copyOf(knowledge)), undefined, false);
    t.restore(copyOf(knowledge), dirty);
    this.#goTo(block, next);
  }

  /** Does nobody wait for the region? Then the state tells where it is entered. */
  #isEntered(): I32Expr {
    return i32.ltS(this.#left, i32.const(0));
  }

  #enter(): void {
    this.translator.set(this.#left, i32.load(this.translator.stateAddress(), STATE.depth));
  }

  #choose(block: RegionBlock, knowledge: Knowledge): void {
    const t = this.translator;
    const isRoot = block === this.#region.root;
    const targets = [...new Set([...block.ways].flatMap(([entry, to]) => (entry === 0 && !isRoot ? [] : [to])))];
    for (const target of targets) this.#note(target, { knowledge: copyOf(knowledge), dispatched: true });
    const labels = targets.map((target) => this.#label(target));
    const table = this.#region.entries.map(({ entry }) => {
      const way = block.ways.get(entry);
      return way === undefined ? labels[0] : labels[targets.indexOf(way)];
    });
    // Entry 0 is the start; inside of it, it does not come here.
    const first = isRoot ? labels[targets.indexOf(block.ways.get(0) as RegionBlock)] : labels[0];
    t.branchTable([first, ...table], this.#wanted);
  }

  #note(block: RegionBlock, incoming: Incoming): void {
    const list = this.#incoming.get(block);
    if (list === undefined) this.#incoming.set(block, [incoming]);
    else list.push(incoming);
  }

  #label(block: RegionBlock): Label {
    const scope = this.#scopes.findLast((candidate) => candidate.block === block);
    if (scope === undefined) throw new Error("a branch without a scope");
    return scope.label;
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
        if (block.end === "call") this.#call(block, i64.const(block.target as number));
        else this.#go(block, block.target);
        return;
      case "conditional":
        this.#branch(block, terminator.condition);
        return;
      case "indirect":
        if (block.end === "call") this.#call(block, terminator.target);
        else if (isReturn(block)) this.#return(terminator.target);
        else this.#jump(block, terminator.target);
        return;
      case "leave": {
        t.settleFlags();
        t.counts?.leaveBehind();
        const at = terminator.past ? t.nextAddress() : t.currentAddress();
        t.stop(i32.wrap(at), terminator.exit, true);
      }
    }
  }

  /** To a computed address: a block that the jump's table names, or out of the region. */
  #jump(block: RegionBlock, address: I64Expr): void {
    const t = this.translator;
    const target = this.#target;
    t.set(target, i32.wrap(address));
    const { knowledge, dirty } = t;
    const { index, targets } = block.table ?? { index: 0, targets: [] };
    const inside = block.successors;
    if (inside.length > 0) {
      t.plainBlock((out) => {
        const labels: Label[] = [];
        const place = (i: number): void => {
          if (i === inside.length) {
            const places = targets.map((address) => labels[inside.findIndex((to) => to.address === address)] ?? out);
            t.branchTable([...places, out], i32.wrap(t.gpr(index)));
            return;
          }
          t.plainBlock((label) => {
            labels[i] = label;
            place(i + 1);
          });
          // The index has only picked what to compare with.
          t.restore(copyOf(knowledge), dirty);
          t.branchIf(out, i32.ne(target, i32.const(inside[i].address)), false);
          this.#goTo(block, inside[i]);
        };
        place(0);
      });
      t.restore(copyOf(knowledge), dirty);
    }
    t.settleFlags();
    t.counts?.leaveBehind();
    t.goOutside(target, true);
  }

  /** To whoever waits: that one looks whether it is for this address. */
  #return(target: I64Expr): void {
    const t = this.translator;
    const flags = !this.#region.flagsDieAtCalls;
    if (flags) t.settleFlags();
    t.storeRegisters(t.dirty, flags);
    t.counts?.leave();
    t.return(i32.wrap(target), t.fuel);
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
        t.restore(knowledge, dirty);
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
      t.counts?.leaveBehind();
      t.goOutside(i32.const(address as number), true);
      return;
    }
    this.#goTo(from, to);
  }

  #goTo(from: RegionBlock, to: RegionBlock): void {
    const t = this.translator;
    const goesBack = to.index <= from.index;
    t.loadRegisters(this.#flow.validIn(to) & ~this.#flow.validOut(from));
    t.storeRegisters(t.dirty & ~this.#flow.dirtyIn(to), false);
    if (goesBack || to.isMerge) {
      if (to.flagsIn !== 0) t.settleFlags();
      if (!goesBack) this.#note(to, { knowledge: t.knowledge, dispatched: false });
      t.branch(this.#label(to));
      return;
    }
    if (to.isLoopHeader && to.flagsIn !== 0) t.settleFlags();
    this.#tree(to, t.knowledge);
  }

  /** Table slot of the region that starts at a computed address; 0 if there is none. */
  #lookUp(address: I32Expr): I32Expr {
    const t = this.translator;
    const slot = t.let(i32.shl(i32.and(address, i32.const(SLOT_MASK)), i32.const(4)));
    const same = i64.eq(i64.load(slot, LOOKUP_TABLE), i64.extendI32U(address));
    const region = t.let(select(same, i32.load(slot, LOOKUP_TABLE + 12), i32.const(0)));
    // Above the slot is the number of an entry in the middle: that is the dispatcher's.
    return t.let(select(i32.ltU(region, i32.const(REGION_SLOTS)), region, i32.const(0)));
  }

  /**
   * A guest call: the target's region is called, if it has one, and what it returns compared with the return address.
   * Where that differs, or there is no region, the call goes on in the dispatcher, which may still come back here.
   */
  #call(block: RegionBlock, target: I64Expr): void {
    const t = this.translator;
    const cpu = t.stateAddress();
    const flags = block.flagsOut !== 0;
    if (flags) t.settleFlags();
    const pc = t.let(i32.wrap(target));
    const known = target.value === undefined ? undefined : Number(target.value);
    const region = known === undefined ? this.#lookUp(pc) : t.let(i32.load(i32.const(this.#callCell(known))));
    const back = i32.const(block.next as number);
    const at = t.local(I32);
    const rsp = t.stackPointer;
    const results = [at, t.fuel];
    t.storeRegisters(t.dirty & ~IN_REGISTERS, flags);
    t.plainBlock((done) => {
      t.plainBlock((noRegion) => {
        t.branchIf(noRegion, i32.leS(this.#left, i32.const(0)), false);
        const args = [cpu, i32.sub(this.#left, i32.const(1)), t.fuel, rsp];
        if (t.counts !== undefined) {
          t.branchIf(noRegion, i32.eqz(region), false);
          t.counts.pass(pc, known !== undefined, noRegion);
        }
        const through = (): void => {
          t.branchIf(noRegion, i32.eqz(region), false);
          t.setAll(results, callIndirect(I32, 0, args, region));
        };
        if (known === undefined) through();
        else {
          const slot = new LateConst(SLOT_BYTES);
          const direct = new LateCall(args, INDEX_BYTES);
          this.#calls.push({ target: known, slot, direct });
          t.plainIf(i32.eq(region, slot), () => t.setAll(results, direct), through);
        }
        t.branch(done);
      });
      t.storeRegisters(IN_REGISTERS, false);
      t.counts?.leaveBehind();
      t.counts?.leave();
      t.set(at, pc);
    });
    t.plainIf(
      i32.ne(at, back),
      () => {
        t.storeFuel();
        t.set(at, call(I32, GO_ON, [cpu, at, back, this.#left, rsp]));
        t.loadFuel();
        // The state is in memory already.
        t.plainIf(i32.ne(at, back), () => t.return(at, t.fuel), undefined, false);
        t.counts?.resumed(cpu, back, () => t.return(i32.const(EXIT.branch), t.fuel));
      },
      undefined,
      false,
    );
    t.stackPointerReturns();
    const next = block.successors.find(({ address }) => address === block.next);
    if (next === undefined || next.flagsIn !== 0) t.loadFlags();
    t.dirty = 0;
    t.knowledge = nothingKnown();
    this.#go(block, block.next);
  }
}

function isReturn(block: RegionBlock): boolean {
  return block.instructions[block.instructions.length - 1].row.returns;
}
