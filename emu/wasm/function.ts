import { Bytes } from "./bytes.ts";
import { type Expr, type I32Expr, type I64Expr, LocalRef, splitPlace, type V128Expr, type ValType } from "./expr.ts";
import type { FunctionBody } from "./module.ts";

const BLOCK_VOID = 0x40;

/** A place to branch to. */
export interface Label {
  readonly depth: number;
}

/** Writes one WebAssembly function, statement by statement. */
export class FunctionBuilder {
  readonly code = new Bytes();
  protected readonly isTrial: boolean;
  readonly params: readonly ValType[];
  readonly #locals: ValType[] = [];
  #depth = 0;
  /** Places of branches, in the code, and whether they are likely to be taken. */
  readonly #hints: { at: number; likely: boolean }[] = [];

  /** @param isTrial only what the code is made of matters: expressions are not written out */
  constructor(params: readonly ValType[], isTrial = false) {
    this.params = params;
    this.isTrial = isTrial;
  }

  #write(value: Expr): void {
    if (!this.isTrial) value.write(this.code);
  }

  param<T extends ValType>(index: number, type: T): LocalRef<T> {
    if (this.params[index] !== type) throw new TypeError(`parameter ${index} has another type`);
    return new LocalRef(type, index);
  }

  /** Does what is written now run each time that the function does, unless it has left before? */
  protected get isOutermost(): boolean {
    return this.#depth === 0;
  }

  /** A fresh local. It is zero at entry to the function, but its code may run more than once: set it before reading. */
  local<T extends ValType>(type: T): LocalRef<T> {
    return new LocalRef(type, this.allocate(type));
  }

  /** Index of a local that nobody uses. */
  protected allocate(type: ValType): number {
    this.#locals.push(type);
    return this.params.length + this.#locals.length - 1;
  }

  /** Evaluates now and keeps the value in a local. Constants and locals made by `let` are returned as they are. */
  let<T extends ValType>(value: Expr<T>): Expr<T> {
    if (value.value !== undefined || value instanceof PinnedRef) return value;
    const pinned = new PinnedRef(value.type, this.allocate(value.type));
    this.set(pinned, value);
    return pinned;
  }

  set<T extends ValType>(local: LocalRef<T>, value: Expr<T>): void {
    this.#write(value);
    this.code.localSet(local.index);
  }

  /** Evaluates a call with as many results, all of which are kept. */
  setAll(locals: readonly LocalRef<ValType>[], value: Expr): void {
    this.#write(value);
    for (const { index } of locals.toReversed()) this.code.localSet(index);
  }

  /** Stores the low `bits` of an i64. */
  storeInt(bits: number, address: I32Expr, value: I64Expr, offset = 0): void {
    const opcode = bits === 64 ? 0x37 : bits === 32 ? 0x3e : bits === 16 ? 0x3d : 0x3c;
    this.#store(opcode, address, value, offset);
  }

  storeI32(address: I32Expr, value: I32Expr, offset = 0): void {
    this.#store(0x36, address, value, offset);
  }

  storeFloat(address: I32Expr, value: Expr, offset = 0): void {
    this.#store(value.type === 0x7d ? 0x38 : 0x39, address, value, offset);
  }

  storeV128(address: I32Expr, value: V128Expr, offset = 0): void {
    const place = splitPlace(address, offset);
    this.#write(place.base);
    this.#write(value);
    this.code.byte(0xfd);
    this.code.u32(0x0b);
    this.code.byte(0);
    this.code.u32(place.offset);
  }

  /** Copies bytes within the memory, as if by way of a buffer. */
  copyMemory(to: I32Expr, from: I32Expr, length: I32Expr): void {
    for (const value of [to, from, length]) this.#write(value);
    for (const byte of [0xfc, 0x0a, 0, 0]) this.code.byte(byte);
  }

  /** Sets bytes of the memory to the low byte of `value`. */
  fillMemory(to: I32Expr, value: I32Expr, length: I32Expr): void {
    for (const operand of [to, value, length]) this.#write(operand);
    for (const byte of [0xfc, 0x0b, 0]) this.code.byte(byte);
  }

  #store(opcode: number, address: I32Expr, value: Expr, offset: number): void {
    const place = splitPlace(address, offset);
    this.#write(place.base);
    this.#write(value);
    this.code.byte(opcode);
    this.code.byte(0);
    this.code.u32(place.offset);
  }

  /** @param likely whether `then` is likely to run, for the engine */
  if(condition: I32Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (condition.value !== undefined) {
      if (condition.value !== 0) then();
      else otherwise?.();
      return;
    }
    this.#write(condition);
    if (likely !== undefined) this.#hints.push({ at: this.code.length, likely });
    this.code.byte(0x04);
    this.code.byte(BLOCK_VOID);
    this.#depth++;
    then();
    if (otherwise !== undefined) {
      this.code.byte(0x05);
      otherwise();
    }
    this.#end();
  }

  /** Runs `body`; a branch to its label leaves it. */
  block(body: (exit: Label) => void): void {
    this.#open(0x02, body);
  }

  /** Runs `body` once; a branch to its label starts it again. */
  loop(body: (again: Label) => void): void {
    this.#open(0x03, body);
  }

  #open(opcode: number, body: (label: Label) => void): void {
    this.code.byte(opcode);
    this.code.byte(BLOCK_VOID);
    this.#depth++;
    body({ depth: this.#depth });
    this.#end();
  }

  #end(): void {
    this.#depth--;
    this.code.byte(0x0b);
  }

  branch(label: Label): void {
    this.code.byte(0x0c);
    this.code.u32(this.#depth - label.depth);
  }

  /** @param likely whether it is likely to branch, for the engine (branch hinting proposal) */
  branchIf(label: Label, condition: I32Expr, likely?: boolean): void {
    this.#write(condition);
    if (likely !== undefined) this.#hints.push({ at: this.code.length, likely });
    this.code.byte(0x0d);
    this.code.u32(this.#depth - label.depth);
  }

  /** Branches to the label that `index` picks, or to the last one where it is too large. */
  branchTable(labels: readonly Label[], index: I32Expr): void {
    this.#write(index);
    this.code.byte(0x0e);
    this.code.u32(labels.length - 1);
    for (const label of labels) this.code.u32(this.#depth - label.depth);
  }

  return(...values: Expr[]): void {
    for (const value of values) this.#write(value);
    this.code.byte(0x0f);
  }

  unreachable(): void {
    this.code.byte(0x00);
  }

  /** Calls a function without a result. */
  callVoid(functionIndex: number, args: readonly Expr[]): void {
    for (const arg of args) this.#write(arg);
    this.code.byte(0x10);
    this.code.u32(functionIndex);
  }

  /** Leaves for the function at `index` of table 0, in place of returning (tail-call proposal). */
  returnCallIndirect(typeIndex: number, args: readonly Expr[], index: I32Expr): void {
    for (const arg of args) this.#write(arg);
    this.#write(index);
    this.code.byte(0x13);
    this.code.u32(typeIndex);
    this.code.byte(0);
  }

  /** Leaves for a function, in place of returning (tail-call proposal). */
  returnCall(functionIndex: number, args: readonly Expr[]): void {
    for (const arg of args) this.#write(arg);
    this.code.byte(0x12);
    this.code.u32(functionIndex);
  }

  memoryCopy(to: I32Expr, from: I32Expr, length: I32Expr): void {
    for (const arg of [to, from, length]) this.#write(arg);
    for (const byte of [0xfc, 0x0a, 0, 0]) this.code.byte(byte);
  }

  memoryFill(at: I32Expr, value: I32Expr, length: I32Expr): void {
    for (const arg of [at, value, length]) this.#write(arg);
    for (const byte of [0xfc, 0x0b, 0]) this.code.byte(byte);
  }

  /** Code that runs before everything else, written once the rest is known. */
  readonly prologue = new Bytes();

  /** The hints as the branch hinting proposal has them: offsets from the start of the body. */
  #hintList(start: number): Uint8Array {
    const out = new Bytes();
    if (this.#hints.length === 0) return out.view();
    out.u32(this.#hints.length);
    for (const { at, likely } of this.#hints) {
      out.u32(start + at);
      out.byte(1);
      out.byte(likely ? 1 : 0);
    }
    return out.view();
  }

  /** Where `code` will start in the body, once locals and prologue are complete. */
  codeStart(): number {
    return this.#head().length + this.prologue.length;
  }

  /** Names of parameters and locals, for whoever reads the code. */
  localNames: ReadonlyMap<number, string> | undefined;

  /** The declaration of the locals. */
  #head(): Bytes {
    const runs: [ValType, number][] = [];
    for (const type of this.#locals) {
      const last = runs[runs.length - 1];
      if (last !== undefined && last[0] === type) last[1]++;
      else runs.push([type, 1]);
    }
    const head = new Bytes();
    head.u32(runs.length);
    for (const [type, count] of runs) {
      head.u32(count);
      head.byte(type);
    }
    return head;
  }

  /** The function in binary form. */
  body(): FunctionBody {
    const out = this.#head();
    const start = out.length + this.prologue.length;
    out.bytes(this.prologue.view());
    out.bytes(this.code.view());
    out.byte(0x0b);
    return { code: out.view(), hints: this.#hintList(start), localNames: this.localNames };
  }
}

/** A local that is written once: it may be read anywhere after. */
class PinnedRef<T extends ValType> extends LocalRef<T> {}
