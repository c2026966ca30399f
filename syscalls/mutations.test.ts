// Damaged programs: whatever a file is turned into, goemu refuses it or runs it, and what runs ends as a guest ends.
// GOEMU_FUZZ sets how many mutations are run (npm run test:fuzz: 10,000), GOEMU_FUZZ_ROUND runs one of each program alone.
import { describe, expect, it } from "vitest";
import type { EventLoop } from "../emu/threads/scheduler.ts";
import { LoadError, readExecutable } from "../loader/elf.ts";
import { fixture } from "../loader/test-elf.ts";
import { Machine } from "./machine.ts";
import { Random } from "./testing/random.ts";
import { TestHost } from "./testing/test-host.ts";

const MUTATIONS = Number(process.env.GOEMU_FUZZ ?? 240);
const ONLY = process.env.GOEMU_FUZZ_ROUND === undefined ? undefined : Number(process.env.GOEMU_FUZZ_ROUND);
/** No mutant may take more CPU time, in milliseconds: some hundred thousand instructions, and their translation. */
const TIME_LIMIT = 10_000;
const TURNS = 3;
const OUTPUT_LIMIT = 1 << 20;
const INTERESTING = [
  0n,
  1n,
  7n,
  0x7fffn,
  0xffffn,
  0x40_0000n,
  0xf000_0000n,
  0xffff_ffffn,
  0x7fff_ffff_f000n,
  1n << 47n,
  1n << 60n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];

/** The machine has run as long as it may. */
class TimeIsUp extends Error {}

/** An event loop that ends the run: its clock counts visits, and nothing ever happens outside. */
class BoundedLoop implements EventLoop {
  #now = 0;

  now(): number {
    this.#now += 1e6;
    return this.#now;
  }

  yield(): Promise<void> {
    return Promise.reject(new TimeIsUp());
  }

  wait(): Promise<void> {
    return Promise.reject(new TimeIsUp());
  }

  wake(): void {}
}

/** Where damage tells: headers, what the first instructions are, Go's tables, anything. */
function hotSpots(bytes: Uint8Array): readonly (readonly [offset: number, size: number])[] {
  const { entry, segments, sections } = readExecutable(bytes, "pristine");
  const code = segments.find(({ vaddr, memSize }) => entry >= vaddr && entry < vaddr + memSize)!;
  const entryOffset = entry - code.vaddr + code.offset;
  const tables = sections
    .filter(({ name, size }) => size > 0 && /pclntab|dynamic|rela|data$|typelink|itab/.test(name))
    .map(({ offset, size }) => [offset, Math.min(size, 4096)] as const);
  return [[16, 48], [64, 56 * 8], [entryOffset, 512], [entryOffset, 0x4000], [code.offset, code.fileSize], ...tables];
}

/** Makes one to eight changes; gives where. */
function mutate(bytes: Uint8Array, spots: ReturnType<typeof hotSpots>, random: Random): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: 1 + random.below(8) }, () => {
    const [start, size] = random.below(10) === 0 ? [0, bytes.length] : random.pick(spots);
    const word = Math.min(start + random.below(size), bytes.length - 8) & ~7;
    const at = word + random.below(8);
    if (random.below(4) > 0) bytes[at] ^= random.below(2) === 0 ? 1 << random.below(8) : random.below(256);
    else view.setBigUint64(word, random.pick(INTERESTING), true);
    return word;
  });
}

/** Runs a mutant as far as it may go; gives how it ended. */
async function run(bytes: Uint8Array, seed: number): Promise<"refused" | "exited" | "killed" | "running"> {
  const host = new TestHost({ outputLimit: OUTPUT_LIMIT });
  let machine: Machine;
  try {
    const addressSpace = seed % 4 === 0 ? "linux" : "compact";
    machine = new Machine({
      program: bytes,
      path: "mutant",
      host,
      eventLoop: new BoundedLoop(),
      addressSpace,
      cpus: 2,
    });
  } catch (error) {
    if (error instanceof LoadError) return "refused";
    throw error;
  }
  try {
    for (let turn = 0; turn < TURNS && !machine.process.finished; turn++) {
      await machine.run().catch((error: unknown) => {
        if (!(error instanceof TimeIsUp)) throw error;
      });
    }
  } catch (error) {
    throw new Error(`mutant ${seed}`, { cause: error });
  }
  const { exitStatus } = machine.process;
  if (exitStatus === undefined) return "running";
  return exitStatus.kind === "exited" ? "exited" : "killed";
}

describe("a damaged program", () => {
  it.each([
    ["work-go1.21", 1],
    ["work-pie", 2],
    ["work-go1.11", 3],
  ])("%s is refused or runs, within bounds", { timeout: 600_000 + MUTATIONS * 300 }, async (name, seed) => {
    const pristine = fixture(name);
    const spots = hotSpots(pristine);
    const random = new Random(seed);
    const bytes = new Uint8Array(pristine);
    const outcomes = { refused: 0, exited: 0, killed: 0, running: 0 };
    for (let round = 0; round < MUTATIONS / 3; round++) {
      const changed = mutate(bytes, spots, random);
      const start = process.cpuUsage();
      if (ONLY === undefined || ONLY === round) outcomes[await run(bytes.slice(), seed * 1_000_000 + round)]++;
      const { user, system } = process.cpuUsage(start);
      expect((user + system) / 1000, `mutant ${round} of ${name}`).toBeLessThan(TIME_LIMIT);
      for (const word of changed) bytes.set(pristine.subarray(word, word + 8), word);
    }
    expect(process.memoryUsage().heapUsed).toBeLessThan(1 << 30);
    if (ONLY !== undefined) return;
    // All ways out are taken: otherwise the mutations do not reach what they are for.
    expect(outcomes.refused).toBeGreaterThan(MUTATIONS / 60);
    expect(outcomes.exited).toBeGreaterThan(MUTATIONS / 60);
    expect(outcomes.killed).toBeGreaterThan(0);
  });
});
