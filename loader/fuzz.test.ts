import { describe, expect, it } from "vitest";
import { LoadError, readExecutable } from "./elf.ts";
import { SymbolError } from "./errors.ts";
import { describe as describeExecutable } from "./info.ts";
import { planImage } from "./map.ts";
import { SymbolTable } from "./symbols/table.ts";
import { fixture } from "./test-elf.ts";

const MUTATIONS = 5000;
/** No mutation may take longer than this, in milliseconds; the slowest takes some tens. */
const TIME_LIMIT = 2000;
const INTERESTING = [
  0n,
  1n,
  7n,
  0x7fffn,
  0xffffn,
  0xffff_ffffn,
  0x7fff_ffff_f000n,
  1n << 47n,
  1n << 60n,
  (1n << 64n) - 1n,
];

/** xorshift32 (Marsaglia 2003): the same mutations every time. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Offsets around which damage matters: headers, tables, and what symbols start from. */
function hotSpots(bytes: Uint8Array): readonly (readonly [offset: number, size: number])[] {
  const { sections } = readExecutable(bytes, "pristine");
  const named = sections
    .filter(
      ({ name, size }) => size > 0 && /pclntab|buildinfo|dynamic|rela|interp|go\.module|symtab|shstrtab/.test(name),
    )
    .map(({ offset, size }) => [offset, Math.min(size, 256)] as const);
  const sectionTable = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(40, true));
  return [[0, 64], [64, 56 * 12], [sectionTable, 64 * Math.max(1, sections.length)], ...named];
}

/** Makes one to four changes and gives the offsets of the words that they are in. */
function mutate(bytes: Uint8Array, spots: ReturnType<typeof hotSpots>, random: (below: number) => number): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: 1 + random(4) }, () => {
    const [start, size] = random(8) === 0 ? [0, bytes.length] : spots[random(spots.length)];
    const at = Math.min(start + random(size), bytes.length - 8);
    const word = at - (at % 8);
    switch (random(4)) {
      case 0:
        bytes[at] ^= 1 << random(8);
        break;
      case 1:
        view.setUint16(at - (at % 2), random(0x1_0000), true);
        break;
      case 2:
        view.setUint32(at - (at % 4), random(2 ** 32), true);
        break;
      default:
        view.setBigUint64(word, INTERESTING[random(INTERESTING.length)], true);
    }
    return word;
  });
}

/** Calls `action`, which may throw only the error of `kind`; tells whether it did. */
function throwsOnly(kind: typeof LoadError | typeof SymbolError, action: () => void): boolean {
  try {
    action();
    return false;
  } catch (error) {
    if (!(error instanceof kind)) {
      throw error;
    }
    return true;
  }
}

function exercise(bytes: Uint8Array, random: (below: number) => number): "refused" | "damaged symbols" | "fine" {
  let executable!: ReturnType<typeof readExecutable>;
  const refused = throwsOnly(LoadError, () => {
    executable = readExecutable(bytes, "mutant");
    const plan = planImage(executable, { base: 0x1000_0000 });
    const content = plan.mappings.reduce((sum, mapping) => sum + mapping.bytes.length, 0);
    // Linux shows a file page in both segments that share it.
    expect(content).toBeLessThanOrEqual(bytes.length + plan.mappings.length * 8192);
  });
  if (refused) {
    return "refused";
  }
  const symbols = new SymbolTable(executable);
  let damaged = false;
  for (let probe = 0; probe < 4; probe++) {
    const { vaddr, memSize } = executable.segments[random(executable.segments.length)];
    const address = probe === 0 ? executable.entry : vaddr + random(Math.min(memSize, 0x8_0000) + 1);
    damaged = throwsOnly(SymbolError, () => symbols.lookup(address)) || damaged;
    damaged = throwsOnly(SymbolError, () => symbols.lineOf(address)) || damaged;
    damaged = throwsOnly(SymbolError, () => symbols.inlineStack(address)) || damaged;
    damaged = throwsOnly(SymbolError, () => symbols.variableAt(address)) || damaged;
  }
  if (random(8) === 0) {
    throwsOnly(SymbolError, () => describeExecutable(executable));
    damaged = throwsOnly(SymbolError, () => symbols.functions) || damaged;
  }
  return damaged ? "damaged symbols" : "fine";
}

describe("a damaged file", () => {
  it.each([
    ["work-go1.21", 1],
    ["work-pie", 2],
  ])("%s ends in LoadError or SymbolError and nothing else, in bounded time", (name, seed) => {
    const pristine = fixture(name);
    const spots = hotSpots(pristine);
    const random = randomNumbers(seed);
    const bytes = new Uint8Array(pristine);
    const outcomes = { refused: 0, "damaged symbols": 0, fine: 0 };
    let slowest = 0;
    for (let round = 0; round < MUTATIONS; round++) {
      const changed = mutate(bytes, spots, random);
      const mutant = random(16) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
      const start = performance.now();
      outcomes[exercise(mutant, random)]++;
      slowest = Math.max(slowest, performance.now() - start);
      for (const word of changed) {
        bytes.set(pristine.subarray(word, word + 8), word);
      }
    }
    expect(bytes).toEqual(new Uint8Array(pristine));
    expect(slowest).toBeLessThan(TIME_LIMIT);
    // Every way out is taken often: otherwise the mutations do not reach what they are for.
    expect(outcomes.refused).toBeGreaterThan(MUTATIONS / 50);
    expect(outcomes["damaged symbols"]).toBeGreaterThan(MUTATIONS / 100);
    expect(outcomes.fine).toBeGreaterThan(MUTATIONS / 50);
  });
});
