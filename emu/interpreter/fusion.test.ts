import { beforeAll, describe, expect, it } from "vitest";
import { VECTOR } from "../cpu/exits.ts";
import { CpuState, REG } from "../cpu/state.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { fusionTable, MOST_SEQUENCES } from "./fusion.ts";
import type { HandlerPack } from "./handlers.ts";
import { Interpreter } from "./interpreter.ts";
import { FIRST_FORM } from "./known-forms.ts";
import { RunCounter } from "./run-counter.ts";

const CODE = 0x2000_0000;
const DATA = 0x3000_0000;
const NOWHERE = 0x4000_0000n;
const HLT = 0xf4;
// mov rax, [rbx]; add rax, rcx; mov [rdx], rax; sub rsi, 1; jnz; hlt
const LOOP = [0x48, 0x8b, 0x03, 0x48, 0x01, 0xc8, 0x48, 0x89, 0x02, 0x48, 0x83, 0xee, 0x01, 0x75, 0xf1, HLT];
const [ADD, STORE, SUB, END] = [3, 6, 9, 15].map((offset) => BigInt(CODE + offset));

interface Machine {
  readonly guest: GuestMemory;
  readonly cpu: CpuState;
  readonly interpreter: Interpreter;
}

function machine(pack?: HandlerPack): Machine {
  const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  const space = new AddressSpace(memory);
  space.map({ address: CODE, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
  space.map({ address: DATA, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
  const guest = new GuestMemory(space);
  const interpreter = new Interpreter(guest, pack);
  if (pack !== undefined) interpreter.code.loadPack(pack, false);
  return { guest, interpreter, cpu: new CpuState(memory.buffer, 0) };
}

function start({ guest, cpu }: Machine, code: readonly number[] = LOOP): void {
  guest.poke(CODE, Uint8Array.from(code));
  guest.poke(DATA, Uint8Array.of(40, 0, 0, 0, 0, 0, 0, 0));
  cpu.reset();
  cpu.rip = CODE;
  cpu.fuel = 1000;
  cpu.gpr[REG.RBX] = BigInt(DATA);
  cpu.gpr[REG.RDX] = BigInt(DATA + 8);
  cpu.gpr[REG.RCX] = 2n;
  cpu.gpr[REG.RSI] = 3n;
}

/** Handlers for everything in a row in a program. */
function packFor(code: readonly number[], longest: number): HandlerPack {
  const teacher = machine();
  start(teacher, code);
  teacher.interpreter.run(teacher.cpu);
  const { handlers, code: cache } = teacher.interpreter;
  const runs = new RunCounter(longest);
  runs.add(handlers, cache);
  return teacher.interpreter.packForms(handlers.forms, runs.frequent(MOST_SEQUENCES, handlers.forms));
}

/** Handlers of the first block, by whether they are of sequences. */
const isFused = ({ interpreter }: Machine, pack: HandlerPack): boolean[] => {
  const [slots] = interpreter.code.handlerSlots();
  return slots.map((slot) => slot >= FIRST_FORM + pack.keys.length);
};

describe("handlers of sequences", () => {
  let pack: HandlerPack;
  let fused: Machine;
  beforeAll(() => {
    pack = packFor(LOOP, 5);
    fused = machine(pack);
  });

  it("run all instructions of theirs", () => {
    start(fused);
    expect(fused.interpreter.run(fused.cpu)).toMatchObject({ kind: "exception", vector: VECTOR.GP });
    expect(isFused(fused, pack)).toEqual([true, false, false, false, false]);
    expect(fused.cpu.rip64).toBe(END);
    expect(fused.guest.readU64(DATA + 8)).toBe(42n);
    expect(fused.cpu.gpr[REG.RSI]).toBe(0n);
    // Three times five instructions; ZF and PF are set.
    expect(1000 - fused.cpu.fuel).toBe(15);
    expect(fused.cpu.rflags & 0x8d5n).toBe(0x44n);
  });

  it.each([
    ["the first", REG.RBX, BigInt(CODE), 0n],
    ["a later one", REG.RDX, STORE, 42n],
  ])("stop before %s if it faults, with all of those before it done", (_, register, rip, rax) => {
    start(fused);
    fused.cpu.gpr[register] = NOWHERE;
    expect(fused.interpreter.run(fused.cpu)).toMatchObject({ kind: "fault", address: NOWHERE });
    expect(fused.cpu.rip64).toBe(rip);
    expect(fused.cpu.gpr[REG.RAX]).toBe(rax);
    expect(fused.cpu.gpr[REG.RSI]).toBe(3n);
    expect(1000 - fused.cpu.fuel).toBe(rip === STORE ? 2 : 0);
    // Where it was stopped it goes on, in a block of its own.
    fused.cpu.gpr[register] = BigInt(DATA + 16);
    fused.interpreter.run(fused.cpu);
    expect(fused.cpu.rip64).toBe(END);
  });

  it("see what one of them has written over the next", () => {
    // SUB becomes ADD, MOV's neighbour in the same sequence.
    start(fused);
    fused.cpu.gpr[REG.RDX] = SUB;
    fused.guest.poke(DATA, Uint8Array.from([0x48, 0x83, 0xc6, 0xff, 0x75, 0xf1, HLT, HLT]));
    fused.cpu.gpr[REG.RCX] = 0n;
    fused.interpreter.run(fused.cpu);
    // ADD RSI, -1 carries where SUB RSI, 1 does not borrow: at the end CF is set.
    expect(fused.cpu.rip64).toBe(END);
    expect(fused.cpu.gpr[REG.RSI]).toBe(0n);
    expect(fused.cpu.rflags & 1n).toBe(1n);
  });

  it("let an access across pages be put together", () => {
    const { guest } = fused;
    const { space } = guest;
    space.map({ address: DATA + PAGE_SIZE, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
    start(fused);
    fused.cpu.gpr[REG.RDX] = BigInt(DATA + PAGE_SIZE - 3);
    fused.interpreter.run(fused.cpu);
    expect(guest.readU64(DATA + PAGE_SIZE - 3)).toBe(42n);
  });

  it("are for the longest sequence that there is", () => {
    const two = packFor(LOOP, 2);
    const machineOfTwo = machine(two);
    start(machineOfTwo);
    machineOfTwo.interpreter.run(machineOfTwo.cpu);
    expect(isFused(machineOfTwo, two)).toEqual([true, false, true, false, false]);
    expect(machineOfTwo.cpu.rip64).toBe(END);
  });

  it("are not used by single steps, and not across addresses at which somebody wants to stop", () => {
    start(fused);
    for (const rip of [ADD, STORE, SUB]) {
      fused.interpreter.step(fused.cpu);
      expect(fused.cpu.rip64).toBe(rip);
    }
    const watched = machine(pack);
    start(watched);
    watched.interpreter.code.stops.add(Number(STORE));
    expect(watched.interpreter.run(watched.cpu, watched.interpreter.code.stops)).toMatchObject({ kind: "stop" });
    expect(watched.cpu.rip64).toBe(STORE);
  });
});

describe("the table of sequences", () => {
  it("needs the beginnings of what is in it", () => {
    expect(() => fusionTable([[1, 2, 3]], 10)).toThrow("without its beginning");
    expect(() => fusionTable(new Array(MOST_SEQUENCES + 1).fill([1, 2]), 10)).toThrow(RangeError);
  });
});
