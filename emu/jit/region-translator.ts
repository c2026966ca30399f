import { Mnemonic } from "iced-x86";
import { EXIT, FIRST_ADDRESS } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import type { Instruction } from "../decode/instruction.ts";
import {
  NEED_BITS,
  PAGE_SHIFT,
  PAGE_SIZE,
  PERM_MAP,
  PERM_READ_SPAN,
  PERM_WRITE_SPAN,
  PROT_READ,
  PROT_WRITE,
} from "../layout.ts";
import type { FloatExpr, Range } from "../semantics/float.ts";
import type { Width } from "../semantics/translator.ts";
import {
  call,
  type Expr,
  type F32Expr,
  F64,
  type F64Expr,
  f32,
  f64,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  LateConst,
  LocalRef,
  Place,
  type ValType,
} from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import type { CountEmitter } from "./count-emitter.ts";
import { type Checked, CONSTANTS, type Knowledge, type Origin } from "./knowledge.ts";
import { flagsBefore } from "./live-flags.ts";
import { RegisterTranslator } from "./register-translator.ts";
import { noUse, type RegisterMask, type VectorKind } from "./register-use.ts";

const n = (value: number | bigint): I64Expr => i64.const(value);

/** How an instruction ends the block it is the last of. */
export type Terminator =
  | { kind: "direct" }
  | { kind: "conditional"; condition: I32Expr }
  | { kind: "indirect"; target: I64Expr }
  | { kind: "leave"; exit: number; past: boolean };

/** Function indices that regions call, and how careful the region has to be. */
export interface RegionImports {
  /** The shared slow path of memory accesses. */
  readonly slow: number;
  readonly timestamp: number;
  readonly helper: (name: string) => number;
  /** See Translator. */
  readonly fuses: () => boolean;
  /** Nothing is taken for granted whose failure leaves the region: it has failed too often. */
  readonly patient: boolean;
  /** What the second pass is to know: instructions that access memory off a base as others of their block do, … */
  readonly sharers: Set<Instruction>;
  /** … and off a base that their block writes off later. */
  readonly writesLater: Set<Instruction>;
}

/** A way out of the region: registers to store, then an address to go on at, or an exit code. */
interface Way {
  readonly stops: boolean;
  /** Of a way out of a loop it is known when the loop is written. */
  dirty: RegisterMask;
  readonly flags: boolean;
  readonly label: Label;
}

/** How far below a stack access the check reaches. */
const STACK_BIAS = 512n;
/** How far above where a pointer points an access may be to be checked from there. */
const STRUCT_REACH = 2048n;

/** How far below an access its check begins, so that it serves what lies there too. */
function checkedBelow({ root, offset }: Origin, bytes: number): bigint {
  // Variables on the same page.
  const inPage = BigInt.asUintN(PAGE_SHIFT, offset);
  if (root === CONSTANTS) return inPage + BigInt(bytes) <= PAGE_SIZE ? inPage : 0n;
  // Other fields of the same struct lie before this one, up to where the pointer points.
  return offset > 0n && offset + BigInt(bytes) <= STRUCT_REACH ? offset : 0n;
}

/** The place of an access at a known distance from one that was checked. */
const placeAt = ({ host, low }: Checked, { offset }: Origin): Place => new Place(host, Number(offset - low));

/** Instructions that may change MXCSR's modes by way of a helper. */
const LOADS_MXCSR = new Set<Mnemonic>([
  ...[Mnemonic.Ldmxcsr, Mnemonic.Vldmxcsr, Mnemonic.Fxrstor, Mnemonic.Fxrstor64, Mnemonic.Xrstor],
  ...[Mnemonic.Xrstor64, Mnemonic.Xrstors, Mnemonic.Xrstors64],
]);

/**
 * Tier 1: semantics become part of a region's function, with memory accesses checked as seldom as possible, and ways out
 * of the region (docs/architecture.md, "Regions").
 */
export class RegionTranslator extends RegisterTranslator {
  /** Where the region counts what it runs. */
  counts: CountEmitter | undefined;
  /** How the instruction just translated ends its block. */
  terminator: Terminator | undefined;
  /** Where to go on, at an exit; and the exit code, if it is not an address. */
  readonly #at: LocalRef<typeof I32> = this.local(I32);
  readonly #status: LocalRef<typeof I32> = this.local(I32);
  readonly #imports: RegionImports;
  readonly #ways = new Map<string, Way>();
  /** Constants that wait for how far a check has to reach. */
  readonly #reaches: { readonly known: Checked; readonly reach: LateConst }[] = [];
  /** First instruction of the block to access memory off a base; for the first pass. */
  readonly #first = new Map<object, Instruction>();
  /** Ways out of the loop under construction (REP), and how many loops had such. */
  #loopWays: Way[] | undefined;
  #loops = 0;
  /** Instructions of the block that have not run when the current one starts. */
  #unspent = 0;

  constructor(imports: RegionImports, known: RegisterMask, kinds: readonly VectorKind[], isTrial: boolean) {
    super(known, kinds, isTrial);
    this.#imports = imports;
  }

  /** Starts a block with what is known there. */
  begin(knowledge: RegisterTranslator["knowledge"], dirty: RegisterMask): void {
    this.#first.clear();
    this.use = noUse();
    this.restore(knowledge, dirty);
  }

  /** Translates one instruction. @param unspent instructions from it to the end of its block */
  translate(instruction: Instruction, emit: (e: RegionTranslator) => void, liveAfter: number, unspent: number): void {
    this.startInstruction(instruction);
    this.liveAfter = liveAfter;
    this.#unspent = unspent;
    this.terminator = undefined;
    emit(this);
    if (LOADS_MXCSR.has(instruction.mnemonic)) this.#forgetModes();
  }

  override callHelper<T extends ValType>(name: string, result: T, args: readonly Expr[]): Expr<T> {
    return call(result, this.#imports.helper(name), args);
  }

  override timestamp(): I64Expr {
    return this.let(i64.truncSatF64U(call(F64, this.#imports.timestamp, [])));
  }

  // Memory.

  override access(address: I64Expr, bytes: number, need: number): I32Expr {
    const indexed = this.originOfIndexed(address);
    const origin = indexed ?? this.originOf(address);
    if (this.isTrial) {
      if (origin !== undefined && this.nesting === 0) this.#noteAccess(origin.root, need);
      return i32.wrap(address);
    }
    // An element's address serves itself alone, most often.
    const isAlone = indexed !== undefined && !this.#imports.sharers.has(this.instruction);
    if (origin === undefined || isAlone || bytes === 1 || this.nesting > 0 || this.#imports.patient) {
      const known = origin && this.#known(origin, bytes, need);
      if (origin !== undefined && known !== undefined) return placeAt(known, origin);
      return this.#checkOnce(address, bytes, need);
    }
    let known = this.#known(origin, bytes, need);
    if (known === undefined) {
      // Stacks are written to and grow down: what is below, down to where a frame usually ends, is checked along.
      const isStack = this.isStackAddress(origin);
      const isWritten = isStack || this.#imports.writesLater.has(this.instruction);
      const { offset } = origin;
      const below = isStack ? STACK_BIAS : checkedBelow(origin, bytes);
      known = this.#checkReach(i64.sub(address, n(below)), isWritten ? need | PROT_WRITE : need);
      known.low = offset - below;
      this.learn(origin.root, known);
      known = this.#known(origin, bytes, need) as Checked;
    }
    return placeAt(known, origin);
  }

  /** What the first pass sees: who reads off a base that the same block writes off later checks for both at once. */
  #noteAccess(root: object, need: number): void {
    const { sharers, writesLater } = this.#imports;
    const first = this.#first.get(root);
    if (first === undefined) {
      this.#first.set(root, this.instruction);
      return;
    }
    if (first !== this.instruction) sharers.add(first).add(this.instruction);
    if (need & PROT_WRITE) writesLater.add(first);
  }

  /** Checks one access; nothing is known afterwards. */
  #checkOnce(address: I64Expr, bytes: number, need: number): I32Expr {
    const linear = this.let(address);
    // 64 bits wide, since V8 extends a 32-bit value that comes from two places once more.
    const host = this.local(I64);
    this.set(host, linear);
    const mask = need & PROT_WRITE ? PERM_WRITE_SPAN : bytes === 1 ? PROT_READ : PERM_READ_SPAN;
    this.#ifDenied(linear, i32.wrap(linear), mask, (allowed, permission) => {
      const slow = call(I32, this.#imports.slow, [
        this.cpu,
        linear,
        i32.const(bytes),
        this.#needWith(need, permission),
      ]);
      this.set(host, i64.extendI32U(slow));
      this.branchIf(allowed, i64.ne(host, n(0)), true);
      this.sideExit();
    });
    return i32.wrap(host);
  }

  /**
   * Checks what lies from an address on. The permission byte that allows it speaks for a whole page from there; where that
   * says no, at the end of a mapping, the slow path looks no further than is relied on.
   */
  #checkReach(address: I64Expr, need: number): Checked {
    const linear = this.let(address);
    const host = this.let(i32.wrap(linear));
    // The interpreter gives every writable page the right to be read.
    const known = { low: 0n, reach: 0, need: need & PROT_WRITE ? need | PROT_READ : need, host };
    this.#ifUnreachable(linear, known, () => this.sideExit());
    return known;
  }

  /** Code for where [linear, linear + known.reach) does not allow accesses at the same place in wasm memory. */
  #ifUnreachable(linear: I64Expr, known: Checked, leave: () => void): void {
    const writes = (known.need & PROT_WRITE) !== 0;
    this.#ifDenied(linear, known.host, writes ? PERM_WRITE_SPAN : PERM_READ_SPAN, (allowed, permission) => {
      const reach = new LateConst(2);
      this.#reaches.push({ known, reach });
      const need = this.#needWith(writes ? PROT_WRITE : PROT_READ, permission);
      const slow = call(I32, this.#imports.slow, [this.cpu, linear, reach, need]);
      const found = this.let(i64.extendI32U(slow));
      this.branchIf(allowed, i32.and(i64.eq(found, linear), i64.ne(found, n(0))), true);
      leave();
    });
  }

  /**
   * What an access needs, with the permission byte that refused it (NEED_BITS): used once more, it is kept in a register
   * by V8, which otherwise loads it twice, for nothing and for the test.
   */
  #needWith(need: number, permission: I32Expr): I32Expr {
    return i32.or(i32.shl(permission, i32.const(NEED_BITS)), i32.const(need));
  }

  /**
   * Checks what is known elsewhere about general registers and MXCSR, so that it may be taken for known here too: the
   * region is left for the interpreter at `address` where it does not hold.
   */
  checkAgain(known: Knowledge, address: I32Expr, dirty: RegisterMask, flags: boolean): void {
    this.dirty = dirty;
    const leave = (): void => this.stop(address, EXIT.resume, flags);
    const bases = new Map<object, { number: number; offset: bigint }>();
    for (const [number, { root, offset }] of known.origins) {
      if (root === CONSTANTS) {
        super.if(i64.ne(this.register(number), n(offset)), leave, undefined, false);
        continue;
      }
      const base = bases.get(root);
      if (base !== undefined) {
        const same = i64.eq(this.register(number), i64.add(this.register(base.number), n(offset - base.offset)));
        super.if(i32.eqz(same), leave, undefined, false);
        continue;
      }
      bases.set(root, { number, offset });
      for (const checked of known.checked.get(root) ?? []) {
        const linear = this.let(i64.add(this.register(number), n(checked.low - offset)));
        this.set(checked.host as LocalRef<typeof I32>, i32.wrap(linear));
        this.#ifUnreachable(linear, checked, leave);
      }
    }
    for (const checked of known.checked.get(CONSTANTS) ?? []) {
      const linear = n(checked.low);
      // A register with a known value may have been the address when it was checked: whoever comes from a dispatch has
      // not been there.
      if (checked.host instanceof LocalRef) this.set(checked.host as LocalRef<typeof I32>, i32.wrap(linear));
      this.#ifUnreachable(linear, checked, leave);
    }
    for (const mode of known.modes) {
      const [mask, value] = mode.split("=").map(Number);
      super.if(i32.eqz(super.mxcsrIs(mask, value)), leave, undefined, false);
    }
  }

  /** Code for an access that is not plain; it branches to `allowed`, or leaves. */
  #ifDenied(linear: I64Expr, host: I32Expr, mask: number, slow: (allowed: Label, permission: I32Expr) => void): void {
    super.block((allowed) => {
      const permission = this.local(I32);
      super.block((denied) => {
        this.set(permission, i32.load8u(i32.shrU(host, i32.const(PAGE_SHIFT)), PERM_MAP));
        this.branchIf(denied, i64.ne(i64.extendI32U(host), linear), false);
        this.branchIf(allowed, i32.and(permission, i32.const(mask)), true);
      });
      slow(allowed, permission);
    });
  }

  /** A check that an access may rely on, which is then made to reach as far. */
  #known({ root, offset }: Origin, bytes: number, need: number): Checked | undefined {
    const list = this.knowledge.checked.get(root) ?? [];
    const end = (known: Checked): number => Number(offset - known.low) + bytes;
    const found = list.find((known) => (known.need & need) === need && offset >= known.low && end(known) <= PAGE_SIZE);
    if (found !== undefined) found.reach = Math.max(found.reach, end(found));
    return found;
  }

  /** A region stores only where a plain store will do: there is nothing to finish. */
  override commit(): void {}

  override mxcsrIs(mask: number, value: number): I32Expr {
    if (this.#imports.patient || this.nesting > 0) return super.mxcsrIs(mask, value);
    const mode = `${mask}=${value}`;
    if (!this.use.changesModes) this.use.modes.add(mode);
    if (!this.knowledge.modes.has(mode)) {
      super.if(i32.eqz(super.mxcsrIs(mask, value)), () => this.sideExit(), undefined, false);
      this.knowledge.modes.add(mode);
    }
    return i32.const(1);
  }

  #forgetModes(): void {
    this.use.changesModes = true;
    this.knowledge.modes.clear();
  }

  override get fuses(): boolean {
    return this.#imports.fuses();
  }

  /** What is neither zero nor ordinary leaves the region: it comes up rarely, and calls for exact emulation. */
  override assumeOrdinary(
    values: readonly FloatExpr[],
    range: Range,
    test: (values: readonly FloatExpr[]) => I32Expr,
  ): boolean {
    if (this.#imports.patient || this.nesting > 0) return false;
    if (this.isTrial) return true;
    const unknown = [...new Set(values)].filter((value) => !this.isOrdinary(value, range));
    if (unknown.length > 0) {
      super.block((done) => {
        this.branchIf(done, test(unknown), true);
        for (const value of unknown) {
          super.block((allowed) => {
            if (unknown.length > 1) this.branchIf(allowed, test([value]));
            const isZero =
              value.type === F64 ? f64.eq(value as F64Expr, f64.const(0)) : f32.eq(value as F32Expr, f32.const(0));
            this.branchIf(allowed, isZero, true);
            this.sideExit();
          });
        }
      });
    }
    for (const value of values) this.learnOrdinary(value, range);
    return true;
  }

  override setState(offset: number, value: I64Expr, width: Width): void {
    if (offset === STATE.mxcsr) this.#forgetModes();
    super.setState(offset, value, width);
  }

  // Ways out.

  override raise(): void {
    this.sideExit();
  }

  override abandon(): void {
    this.sideExit();
  }

  /**
   * What regions return is 32 bits, and below FIRST_ADDRESS an exit code: addresses that do not fit are the
   * interpreter's.
   */
  override requireCanonical(address: I64Expr): void {
    const above = i64.sub(address, n(FIRST_ADDRESS));
    super.if(i64.geU(above, n(2 ** 32 - FIRST_ADDRESS)), () => this.sideExit(), undefined, false);
  }

  /** Leaves before the current instruction: the interpreter repeats it, and finds what is wrong. */
  sideExit(): void {
    const { pending } = this.knowledge;
    const flags = flagsBefore(this.instruction, this.liveAfter) !== 0;
    if (flags) this.writeFlags(pending);
    this.set(this.fuel, i64.add(this.fuel, n(this.#unspent)));
    this.counts?.leaveWithin();
    this.stop(i32.const(this.instruction.address), EXIT.resume, flags);
  }

  /** Goes on at an address outside of the region. @param flags whether somebody may read them */
  goOutside(at: I32Expr, flags: boolean): void {
    this.set(this.#at, at);
    this.branch(this.#way(false, flags).label);
  }

  /** Leaves with an exit code. */
  stop(at: I32Expr, status: number, flags: boolean): void {
    this.set(this.#at, at);
    this.set(this.#status, i32.const(status));
    this.branch(this.#way(true, flags).label);
  }

  /** The way out that stores what is newer than the CPU state here; each is written once (`finishWays`). */
  #way(stops: boolean, flags: boolean): Way {
    const place = this.#loopWays === undefined ? `${this.dirty}` : `loop ${this.#loops}`;
    const key = `${stops} ${place} ${flags}`;
    let way = this.#ways.get(key);
    if (way === undefined) {
      // Blocks around everything else: the first is the innermost.
      way = { stops, dirty: this.dirty, flags, label: { depth: -this.#ways.size } };
      this.#ways.set(key, way);
      this.#loopWays?.push(way);
    }
    return way;
  }

  /**
   * Writes the ways out behind the region's code, which must not fall through.
   * @param id what tells the dispatcher who stopped
   */
  finishWays(id: number): void {
    for (const { known, reach } of this.#reaches) reach.settle(known.reach);
    for (let i = 0; i < this.#ways.size; i++) for (const byte of [0x02, 0x40]) this.prologue.byte(byte);
    for (const { stops, dirty, flags } of this.#ways.values()) {
      this.code.byte(0x0b);
      this.storeRegisters(dirty, flags);
      this.counts?.leave();
      if (!stops) {
        this.return(this.#at, this.fuel);
        continue;
      }
      this.storeInt(64, this.cpu, i64.extendI32U(this.#at), STATE.rip);
      this.storeI32(this.cpu, i32.const(id), STATE.exitRecord);
      this.storeI32(this.cpu, i32.const(0), STATE.exitDetail);
      this.return(this.#status, this.fuel);
    }
    this.unreachable();
  }

  override fuelLeft(): I64Expr {
    return this.fuel;
  }

  override spendFuel(count: I64Expr): void {
    this.set(this.fuel, i64.sub(this.fuel, count));
    this.counts?.repeat(this.instruction, count);
    super.if(i64.ltS(this.fuel, n(0)), () => this.sideExit(), undefined, false);
  }

  // Control structures inside an instruction: what they do is not certain to happen.

  override if(condition: I32Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (condition.value !== undefined) super.if(condition, then, otherwise);
    else this.#nested(() => super.if(condition, then, otherwise, likely));
  }

  override block(body: (exit: Label) => void): void {
    this.#nested(() => super.block(body));
  }

  override loop(body: (again: Label) => void): void {
    // Registers that are written inside are no longer a known distance from others.
    this.knowledge.origins.clear();
    const isOuter = this.#loopWays === undefined;
    if (isOuter) {
      this.#loopWays = [];
      this.#loops++;
    }
    this.#nested(() => super.loop(body));
    this.knowledge.origins.clear();
    if (!isOuter) return;
    // A turn may leave after what an earlier one has changed, wherever in the loop that stands.
    for (const way of this.#loopWays ?? []) way.dirty = this.dirty;
    this.#loopWays = undefined;
  }

  #nested(emit: () => void): void {
    if (this.nesting === 0) {
      const { flagsRead, flagsWritten, stringAddress } = this.instruction;
      // REPE and REPNE go by the flags of their own comparisons, whoever reads them afterwards.
      const areRead = (this.liveAfter | flagsRead) !== 0 || stringAddress !== 0;
      if (areRead && (flagsWritten | flagsRead) !== 0) this.settleFlags();
    }
    this.nesting++;
    emit();
    this.nesting--;
  }

  /** Control flow between blocks, which is no part of an instruction. */
  plainIf(condition: I32Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    super.if(condition, then, otherwise, likely);
  }

  plainBlock(body: (exit: Label) => void): void {
    super.block(body);
  }

  plainLoop(body: (again: Label) => void): void {
    super.loop(body);
  }

  // Ends of a block: the region's builder makes control flow of them.

  override jumpDirect(): void {
    this.terminator = { kind: "direct" };
  }

  override jumpIf(condition: I32Expr): void {
    this.terminator = { kind: "conditional", condition: this.let(condition) };
  }

  override jumpTo(target: I64Expr): void {
    this.terminator = { kind: "indirect", target: this.let(target) };
  }

  override leave(exit: number, past: boolean): void {
    this.terminator = { kind: "leave", exit, past };
  }
}
