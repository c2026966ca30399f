// What a machine keeps from one run to the next: it may make runs faster, and never different.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeSections, SectionReader } from "../emu/cache/container.ts";
import { MemoryTranslationCache } from "../emu/cache/translation-cache.ts";
import { loadFixture } from "../fixtures/programs.ts";
import { MemoryHost } from "../host/memory/memory-host.ts";
import { Machine } from "./machine.ts";
import { buildGuest, CODE, machineOf } from "./testing/guest.ts";
import { Random } from "./testing/random.ts";

const path = loadFixture("work-one-proc").binary;
const program = readFileSync(path);

/** Runs `work` with a cache; gives what it printed and how many instructions were translated for it. */
async function runWork(cache: MemoryTranslationCache): Promise<[string, number]> {
  const host = new MemoryHost();
  const machine = new Machine({ program, path, host, env: ["GOMAXPROCS=1"], cache });
  expect(await machine.run()).toEqual({ kind: "exited", status: 0 });
  machine.saveTranslations();
  const text = new TextDecoder().decode(Buffer.concat(host.written.stdout));
  return [text, machine.statistics().decodedInstructions];
}

describe("translations of an earlier run", () => {
  it("save the next run from translating", async () => {
    const cache = new MemoryTranslationCache();
    const [first, translated] = await runWork(cache);
    const [second, again] = await runWork(cache);
    expect(second).toBe(first);
    expect(translated).toBeGreaterThan(10_000);
    expect(again).toBeLessThan(translated / 20);
  });

  it("are not put anew where hardly anything came to them", async () => {
    const cache = new MemoryTranslationCache();
    await runWork(cache);
    const records = cache.section("records");
    cache.changed = false;
    await runWork(cache);
    expect(cache.section("records")).toBe(records);
  });

  it("are left alone where they are not what the code expects", async () => {
    const cache = new MemoryTranslationCache();
    const [expected, translated] = await runWork(cache);
    const records = cache.section("records") as Uint8Array;
    for (const bytes of [new Uint8Array(0), records.subarray(0, 64), records.subarray(0, records.length - 64)]) {
      const [printed, again] = await runWork(new MemoryTranslationCache([["records", bytes]]));
      expect(printed).toBe(expected);
      expect(again).toBeGreaterThan(translated / 2);
    }
  });

  it("go when the guest writes over the code", async () => {
    // f gives 5; with an argument the guest first makes it give 9.
    const guest = buildGuest((a) => {
      a.bytes(0xeb, 6).bytes(0xb8, 5, 0, 0, 0, 0xc3);
      a.load("rax", { base: "rsp" }).mov("rcx", 1).cmp("rax", "rcx").jcc("e", "call");
      a.syscall(10, CODE, 0x1000, 7).storeByte(CODE + 3, 9);
      a.label("call").mov("rbx", CODE + 2);
      for (let i = 0; i < 1100; i++) a.bytes(0xff, 0xd3);
      a.record();
    });
    const cache = new MemoryTranslationCache();
    const results: number[] = [];
    for (const args of [["guest"], ["guest", "patch"], ["guest"], ["guest", "patch"]]) {
      const { machine, host } = machineOf(guest, { args, cache, tier: "auto" });
      await machine.run();
      machine.saveTranslations();
      results.push(host.stdout.bytes[0]);
      if (args.length === 1) expect(cache.section("records")).toBeDefined();
    }
    expect(results).toEqual([5, 9, 5, 9]);
  });

  it("go when a debugger writes over the code", async () => {
    const cache = new MemoryTranslationCache();
    await runWork(cache);
    const machine = new Machine({ program, path, host: new MemoryHost(), cache });
    // mov edi, 42; mov eax, 231 (exit_group); syscall
    const code = Uint8Array.of(0xbf, 42, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 5);
    machine.memory.poke(machine.mainThread.cpu.rip, code);
    expect(await machine.run()).toEqual({ kind: "exited", status: 42 });
  });
});

describe("a file of sections", () => {
  const sections = new Map([
    ["records", new Uint8Array(1000).fill(1)],
    ["empty", new Uint8Array(0)],
    ["jit", Uint8Array.from({ length: 3001 }, (_, i) => i * 7)],
  ]);
  const file = new Uint8Array(Buffer.concat(encodeSections("identity", sections)));

  const readerOf = (bytes: Uint8Array, identity = "identity"): SectionReader | undefined => {
    const read = (offset: number, length: number): Uint8Array | undefined =>
      offset + length > bytes.length ? undefined : bytes.slice(offset, offset + length);
    return SectionReader.open(read, bytes.length, identity);
  };
  /** All sections, or undefined if one is damaged. */
  function decode(bytes: Uint8Array, identity?: string): Map<string, Uint8Array | undefined> | undefined {
    const reader = readerOf(bytes, identity);
    const all = reader && new Map(reader.names.map((name) => [name, reader.section(name)]));
    return reader?.isDamaged ? undefined : all;
  }

  it("gives back what went in", () => {
    expect(decode(file)).toEqual(sections);
  });

  it("reads only what is asked for", () => {
    const damaged = file.slice();
    damaged[damaged.length - 1] ^= 1;
    const reader = readerOf(damaged) as SectionReader;
    expect(reader.section("records")).toEqual(sections.get("records"));
    expect(reader.isDamaged).toBe(false);
    expect(reader.section("jit")).toBeUndefined();
    expect(reader.isDamaged).toBe(true);
    expect(reader.section("records")).toBeUndefined();
  });

  it("is nothing for another identity", () => {
    expect(readerOf(file, "another")).toBeUndefined();
  });

  it("is nothing with any byte or bit changed, cut short, or made longer", () => {
    const seed = Number(process.env.GOEMU_SEED ?? Date.now() % 1e6);
    const random = new Random(seed);
    for (let i = 0; i < Math.max(3000, file.length); i++) {
      const damaged = file.slice();
      const at = i < file.length ? i : random.below(file.length);
      // The head's last bytes are part of a checksum too.
      damaged[at] ^= 1 << random.below(8);
      expect(decode(damaged), `seed ${seed}, byte ${at}`).toBeUndefined();
    }
    for (let i = 0; i < 300; i++) {
      const length = random.below(file.length);
      expect(readerOf(file.subarray(0, length)), `seed ${seed}, ${length} bytes`).toBeUndefined();
    }
    expect(readerOf(Uint8Array.from([...file, 0]))).toBeUndefined();
    const noise = Uint8Array.from({ length: 500 }, () => random.below(256));
    expect(readerOf(noise)).toBeUndefined();
  });
});
