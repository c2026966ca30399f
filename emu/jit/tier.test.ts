// The second tier with a compiler elsewhere: regions come at some time, or not at all, and the guest does not notice.

import { beforeEach, describe, expect, it } from "vitest";
import { MemoryTranslationCache } from "../cache/translation-cache.ts";
import { CpuState } from "../cpu/state.ts";
import { Interpreter } from "../interpreter/interpreter.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { TestThread } from "./test-thread.ts";
import { enableJit, type Jit } from "./tier.ts";

const CODE = 0x40_0000;
/** In a page of its own. */
const CALLEE = CODE + PAGE_SIZE;
const STACK = 0x50_0000;
const TURNS = 50_000;
const [RAX, RSP] = [0, 4];

let memory: GuestMemory;
let interpreter: Interpreter;
let jit: Jit;
let cpu: CpuState;
let reports: string[];

function setUp(): void {
  const wasm = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  const space = new AddressSpace(wasm);
  space.map({ address: CODE, length: 2 * PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
  space.map({ address: STACK, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
  memory = new GuestMemory(space);
  interpreter = new Interpreter(memory);
  jit = enableJit(interpreter);
  reports = [];
  jit.report = (message) => reports.push(message);
  cpu = new CpuState(wasm.buffer, 0);
  // mov ecx, TURNS; call CALLEE; dec ecx; jnz to the call; hlt
  const turns = Buffer.alloc(4);
  turns.writeUInt32LE(TURNS);
  poke(CODE, `b9 ${turns.toString("hex")} e8 f60f0000 ffc9 75f7 f4`);
  // add eax, 1; ret
  poke(CALLEE, "83c001 c3");
}
beforeEach(setUp);

function poke(address: number, hex: string): void {
  memory.poke(address, Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")));
}

/** Runs to HLT, slice by slice; gives EAX and how many of the instructions the interpreter ran. */
function run(between: (slice: number) => void = () => {}): { eax: number; interpreted: number } {
  const before = interpreter.interpreted;
  cpu.reset();
  cpu.rip = CODE;
  cpu.gpr[RSP] = BigInt(STACK + PAGE_SIZE);
  for (let slice = 0; ; slice++) {
    cpu.fuel = 20_000;
    const stop = interpreter.run(cpu);
    if (stop.kind !== "fuel") {
      expect(stop).toMatchObject({ kind: "exception" });
      return { eax: Number(cpu.gpr[RAX]), interpreted: interpreter.interpreted - before };
    }
    between(slice);
  }
}

/** Slots that regions were to have, in the order of the requests. */
const slotsOf = (thread: TestThread): number[] =>
  thread.messages.flatMap(({ requests }) => (requests ?? []).map(({ slot }) => slot));

describe("a compiler elsewhere", () => {
  it("compiles what is wanted, and the guest goes on meanwhile", () => {
    let isDue = false;
    jit.startThread = () => new TestThread(() => isDue);
    jit.wanted(CODE);
    jit.wanted(CALLEE);
    expect(jit.statistics.regions).toBe(0);
    const { eax, interpreted } = run((slice) => {
      isDue = slice >= 3;
    });
    expect(eax).toBe(TURNS);
    expect(interpreted).toBeGreaterThan(60_000);
    expect(interpreted).toBeLessThan(130_000);
    expect(jit.statistics.regions).toBe(2);
  });

  it("is started when the first region is wanted, and asked for hot code", () => {
    const threads: TestThread[] = [];
    jit.startThread = () => {
      threads.push(new TestThread());
      return threads[threads.length - 1];
    };
    jit.functionRange = (address) =>
      address >= CALLEE
        ? { start: CALLEE, end: CALLEE + 4, name: "callee", goAbi: false }
        : { start: CODE, end: CODE + 0x10, name: "main", goAbi: false };
    // A program that is over soon has none.
    expect(run().eax).toBe(TURNS);
    expect(threads).toHaveLength(0);
    for (let i = 0; i < 200; i++) expect(run().eax).toBe(TURNS);
    expect(threads).toHaveLength(1);
    expect(jit.isEntry(CODE) || jit.isEntry(CALLEE)).toBe(true);
    const requests = threads[0].messages.flatMap((message) => message.requests ?? []);
    expect(new Set(requests.map(({ start }) => start)).size).toBe(requests.length);
  });

  it("is asked sooner in the next run if it was too late in the last", () => {
    const cache = new MemoryTranslationCache();
    const range = { start: CODE, end: CODE + 0x10, name: "main", goAbi: false };
    /** Runs until the thread is asked for something. */
    const askedAfter = (thread: TestThread): number => {
      jit.startThread = () => thread;
      jit.functionRange = (address) => (address >= CALLEE ? undefined : range);
      jit.restore(cache);
      let runs = 0;
      while (thread.messages.length === 0 && runs < 500) {
        expect(run().eax).toBe(TURNS);
        runs++;
      }
      jit.close();
      jit.save(cache);
      return runs;
    };
    const first = askedAfter(new TestThread(() => false));
    expect(first).toBeGreaterThan(50);
    expect(jit.statistics.regions).toBe(0);
    setUp();
    expect(askedAfter(new TestThread(() => false))).toBeLessThan(first / 5);
  });

  it("may be too late: code that has changed meanwhile is not taken for what it was", () => {
    let isDue = false;
    const thread = new TestThread(() => isDue);
    jit.startThread = () => thread;
    jit.wanted(CODE);
    jit.wanted(CALLEE);
    // The thread has compiled, but the answer lies there.
    isDue = true;
    const answer = thread.receive();
    expect(answer?.regions).toHaveLength(2);
    const receive = thread.receive.bind(thread);
    let isGiven = false;
    thread.receive = () => {
      if (isGiven) return receive();
      isGiven = true;
      return answer;
    };
    // add eax, 2
    poke(CALLEE, "83c002 c3");
    const { eax, interpreted } = run();
    expect(eax).toBe(2 * TURNS);
    // The caller's code is as it was.
    expect([jit.isEntry(CODE), jit.isEntry(CALLEE)]).toEqual([true, false]);
    expect(interpreted).toBeGreaterThan(2 * TURNS - 1);
    jit.wanted(CALLEE);
    const again = run();
    expect(again.eax).toBe(2 * TURNS);
    expect(again.interpreted).toBeLessThan(1000);
    // In the slot of the one that came too late the caller would take it for that one.
    const [, late, right] = slotsOf(thread);
    expect(right).not.toBe(late);
  });

  it("gets slots back when all regions of a module are gone", () => {
    let isDue = false;
    const thread = new TestThread(() => isDue);
    jit.startThread = () => thread;
    const compile = (): void => {
      isDue = false;
      jit.wanted(CODE);
      jit.wanted(CALLEE);
      isDue = true;
      jit.poll();
    };
    compile();
    poke(CALLEE, "83c002 c3");
    jit.wanted(CALLEE);
    jit.poll();
    expect(slotsOf(thread)[2]).not.toBe(slotsOf(thread)[1]);
    expect(run()).toMatchObject({ eax: 2 * TURNS });
    // Drops both, of two modules.
    poke(CODE + 0x20, "90");
    poke(CALLEE, "83c003 c3");
    compile();
    const [first, second, third, ...later] = slotsOf(thread);
    expect(later).toHaveLength(2);
    for (const slot of later) expect([first, second, third]).toContain(slot);
    const { eax, interpreted } = run();
    expect(eax).toBe(3 * TURNS);
    expect(interpreted).toBeLessThan(1000);
  });

  it("that fails leaves the work to the guest's own thread, and says so", () => {
    let isDue = false;
    const thread = new TestThread(() => isDue);
    jit.startThread = () => thread;
    jit.wanted(CODE);
    thread.failure = "out of memory";
    isDue = true;
    expect(run().eax).toBe(TURNS);
    expect(reports).toEqual([expect.stringContaining("out of memory")]);
    expect(thread.isClosed).toBe(true);
    expect(jit.statistics.asideMilliseconds).toBe(0);
    jit.wanted(CODE);
    jit.wanted(CALLEE);
    const { eax, interpreted } = run();
    expect(eax).toBe(TURNS);
    expect(interpreted).toBeLessThan(1000);
    expect(reports).toHaveLength(1);
  });

  it("that can't be started is done without", () => {
    jit.startThread = () => {
      throw new Error("no thread is left");
    };
    jit.wanted(CODE);
    jit.wanted(CALLEE);
    expect(reports).toEqual([expect.stringContaining("no thread is left")]);
    const { eax, interpreted } = run();
    expect(eax).toBe(TURNS);
    expect(interpreted).toBeLessThan(1000);
  });

  it("is left out where somebody wants to see what is compiled", () => {
    const thread = new TestThread(() => false);
    jit.startThread = () => thread;
    jit.wanted(CODE);
    const seen: number[] = [];
    jit.onCompile = ({ region }) => seen.push(region.start.address);
    jit.wanted(CALLEE);
    expect(seen).toEqual([CALLEE]);
    // What was under way is given up.
    expect(thread.isClosed).toBe(true);
    jit.wanted(CODE);
    expect(seen).toEqual([CALLEE, CODE]);
    expect(run()).toMatchObject({ eax: TURNS });
  });
});

describe("code that changes again and again", () => {
  const CHANGES = 60;
  /** How many regions are made while code in CALLEE's page is written to and run again and again. */
  const regionsMade = (): number => {
    jit.eager = true;
    for (let i = 0; i < CHANGES; i++) {
      // mov eax, i; hlt
      poke(CALLEE, `b8 ${i.toString(16).padStart(2, "0")}000000 f4`);
      expect(run().eax).toBe(i);
    }
    return jit.statistics.regions;
  };

  it("is left to the interpreter for a while", () => {
    // call CALLEE
    poke(CODE, "e8 fb0f0000");
    expect(regionsMade()).toBeLessThan(CHANGES / 2);
  });

  it("is left to the interpreter together with code elsewhere that jumps there", () => {
    // jmp CALLEE
    poke(CODE, "e9 fb0f0000");
    expect(regionsMade()).toBeLessThan(CHANGES / 2);
  });
});

describe("straight code that each instruction leaves", () => {
  const INSTRUCTIONS = 400;

  it("is not compiled to its end again from each of them", () => {
    jit.eager = true;
    // Regions count on rounding to nearest: with another mode the interpreter does the instruction.
    // ldmxcsr [rsp-4]; jmp to the next; INSTRUCTIONS times divsd xmm0, xmm1; hlt
    poke(CODE, `0fae5424fc eb00 ${"f20f5ec1".repeat(INSTRUCTIONS)} f4`);
    memory.poke(STACK + PAGE_SIZE - 4, Uint8Array.of(0x80, 0x3f, 0, 0));
    run();
    const { regions, compiledInstructions } = jit.statistics;
    expect(regions).toBeGreaterThan(INSTRUCTIONS / 2);
    expect(compiledInstructions).toBeLessThan(INSTRUCTIONS * 40);
  });
});

describe("what the second tier can do without", () => {
  const fail = (): never => {
    throw new TypeError("a bug");
  };

  it("is a thread that can't be asked, or from which something else than answers comes", () => {
    const { eax } = run();
    const faults: Partial<Record<"post" | "receive" | "close", () => never>>[] = [
      { post: fail },
      { receive: fail },
      { post: fail, close: fail },
      { receive: fail, close: fail },
    ];
    for (const fault of faults) {
      setUp();
      jit.startThread = () => Object.assign(new TestThread(), fault);
      jit.wanted(CALLEE);
      expect(run().eax).toBe(eax);
      expect(reports).toEqual([
        "the thread that compiles hot code has failed (TypeError: a bug): the program waits for the compiler now",
      ]);
      jit.wanted(CALLEE);
      expect(jit.isEntry(CALLEE)).toBe(true);
      jit.close();
    }
  });

  it("is an answer that can't be used", () => {
    const thread = new TestThread();
    const receive = thread.receive.bind(thread);
    thread.receive = () => {
      const reply = receive();
      // A module that wants something which nobody has.
      const module = new WebAssembly.Module(
        Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 2, 8, 1, 1, 97, 1, 98, 3, 127, 0]),
      );
      return reply === undefined ? undefined : { ...reply, module };
    };
    jit.startThread = () => thread;
    jit.wanted(CALLEE);
    const { eax, interpreted } = run();
    expect(eax).toBe(TURNS);
    expect(interpreted).toBeGreaterThan(TURNS);
    expect(reports.join()).toMatch(/^the thread that compiles hot code has failed \(TypeError: WebAssembly\.Instance/);
  });

  it("is a function over which the compiler stumbles; after some of them, the compiler", () => {
    jit.functionRange = (address) => ({
      start: address,
      get end(): number {
        return fail();
      },
      name: "main.odd",
      goAbi: false,
    });
    jit.wanted(CALLEE);
    expect(reports).toEqual(["main.odd can't be compiled (TypeError: a bug): it stays in the interpreter"]);
    for (let at = 0; at < 10; at++) jit.wanted(CODE + at);
    expect(reports.at(-1)).toBe(
      "compiling hot code has failed (TypeError: a bug): the program runs in the interpreter now",
    );
    expect(reports).toHaveLength(6);
    expect(run().eax).toBe(TURNS);
  });

  it("is what tells functions apart", () => {
    jit.functionRange = fail;
    expect(run().eax).toBe(TURNS);
    jit.sampled(CODE, CODE);
    expect(reports).toEqual([
      "compiling hot code has failed (TypeError: a bug): the program runs in the interpreter now",
    ]);
  });

  it("is what an earlier run left", () => {
    const cache = new MemoryTranslationCache();
    jit.restore(cache);
    jit.startThread = () => new TestThread();
    jit.wanted(CALLEE);
    run();
    jit.save(cache);
    expect([...cache.sections.keys()]).not.toHaveLength(0);
    setUp();
    const section = cache.section.bind(cache);
    let asked = 0;
    cache.section = (name) => (asked++ === 0 ? section(name) : fail());
    jit.restore(cache);
    jit.wanted(CALLEE);
    expect(reports).toEqual(["what an earlier run compiled can't be used (TypeError: a bug): it is compiled again"]);
    expect(jit.isEntry(CALLEE)).toBe(true);
    expect(run().eax).toBe(TURNS);
  });

  it("is machine code, to be had or to be kept", () => {
    const cache = new MemoryTranslationCache([], { of: fail, module: fail });
    jit.restore(cache);
    jit.startThread = () => new TestThread();
    jit.wanted(CALLEE);
    run();
    jit.save(cache);
    const line = "machine code of earlier runs, or for later ones, has failed (TypeError: a bug): goemu does without";
    expect(reports).toEqual([line]);
    for (const name of [...cache.sections.keys()])
      if (name.startsWith("region code ")) cache.put(name.replace("region", "machine"), new Uint8Array(8));
    setUp();
    jit.restore(cache);
    jit.wanted(CALLEE);
    expect(jit.statistics.restored).toBeGreaterThan(0);
    expect(reports).toEqual([line]);
    expect(run().eax).toBe(TURNS);
  });
});
