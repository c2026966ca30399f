import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { Random } from "../../syscalls/testing/random.ts";
import { flameGraph } from "./flame.ts";
import { foldedStacks } from "./folded.ts";
import { pprofProfile } from "./pprof.ts";
import { Profile, ROOT, Sites } from "./profile.ts";

/** Fields of a message of protocol buffers: numbers, and bytes. */
function* fieldsOf(bytes: Uint8Array): Generator<{ field: number; value: number; bytes: Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const value = varint();
    const content = tag & 2 ? bytes.subarray(at, at + value) : new Uint8Array(0);
    at += content.length;
    yield { field: tag >>> 3, value, bytes: content };
  }
}

const packed = (bytes: Uint8Array): number[] => {
  const numbers: number[] = [];
  let [value, scale] = [0, 1];
  for (const byte of bytes) {
    value += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte >= 0x80) continue;
    numbers.push(value);
    [value, scale] = [0, 1];
  }
  return numbers;
};

/** Stacks as text with their counts, out of pprof's format. */
function samplesOf(file: Uint8Array): [string, number][] {
  const fields = [...fieldsOf(gunzipSync(file))];
  const of = (number: number): Uint8Array[] => fields.filter(({ field }) => field === number).map(({ bytes }) => bytes);
  const numbersOf = (bytes: Uint8Array): Map<number, number> =>
    new Map([...fieldsOf(bytes)].map(({ field, value }) => [field, value]));
  const strings = of(6).map((bytes) => Buffer.from(bytes).toString());
  const functions = new Map(of(5).map((bytes) => [numbersOf(bytes).get(1), strings[numbersOf(bytes).get(2) ?? 0]]));
  const locations = new Map(
    of(4).map((bytes) => {
      const lines = [...fieldsOf(bytes)].filter(({ field }) => field === 4).map((line) => numbersOf(line.bytes));
      return [numbersOf(bytes).get(1), lines.map((line) => `${functions.get(line.get(1))}:${line.get(2) ?? 0}`)];
    }),
  );
  return of(2).map((bytes) => {
    const [ids, values] = [...fieldsOf(bytes)].map((field) => packed(field.bytes));
    return [ids.flatMap((id) => locations.get(id) ?? "missing").join(" "), values[0]];
  });
}

/** A profile with stacks that share what they have in common, some of them with inlined calls. */
function drawn(random: Random, stacks: number, functions: number): Profile {
  const sites = new Sites();
  const profile = new Profile(sites);
  const frame = () => {
    const name = `f${random.below(functions)}`;
    return { name, file: `${name}.go`, line: random.below(300) };
  };
  for (let i = 0; i < stacks; i++) {
    // Most hang on one of the last few: deep trees come of it.
    const on = random.below(8) === 0 ? ROOT : Math.max(ROOT, profile.size - 1 - random.below(3));
    const site = sites.of(Array.from({ length: 1 + (random.below(4) >> 1) }, frame));
    const stack = profile.within(on, site);
    if (random.below(3) > 0) profile.add(stack, random.below(2 ** 40));
  }
  return profile;
}

describe("a profile's formats", () => {
  const seed = Date.now();
  const random = new Random(seed);
  const profile = drawn(random, 5000, 300);
  const stacks = [...profile.stacks()];

  it(`pprof: every stack once, with its count (seed ${seed})`, () => {
    const samples = samplesOf(pprofProfile(profile));
    const text = stacks.map(({ frames, instructions }) => [
      frames.map(({ name, line }) => `${name}:${line}`).join(" "),
      instructions,
    ]);
    expect(samples.toSorted()).toEqual(text.toSorted());
    expect(new Set(samples.map(([stack]) => stack)).size).toBeGreaterThan(1000);
  });

  it(`folded: every chain of functions once, with the sum of its lines (seed ${seed})`, () => {
    const sums = new Map<string, number>();
    for (const { frames, instructions } of stacks) {
      const chain = frames.map(({ name }) => name).toReversed();
      sums.set(chain.join(";"), (sums.get(chain.join(";")) ?? 0) + instructions);
    }
    const lines = Buffer.concat([...foldedStacks(profile)])
      .toString()
      .trimEnd()
      .split("\n");
    expect(lines.toSorted()).toEqual([...sums].map(([chain, sum]) => `${chain} ${sum}`).toSorted());
  });

  it("a flame graph: boxes wide enough to be seen, the root over all", () => {
    const graph = flameGraph(profile, "drawn", "svg");
    expect(graph).toContain(`all: ${profile.instructions.toLocaleString("en")} instructions, 100.00 %`);
    expect(graph.match(/<g class="f"/g)?.length).toBeGreaterThan(100);
  });

  it("any depth: a recursion without end but the stack's", () => {
    const sites = new Sites();
    const deep = new Profile(sites);
    const site = sites.of([{ name: "main.down", file: "down.go", line: 3 }]);
    let stack = ROOT;
    for (let i = 0; i < 100_000; i++) stack = deep.within(stack, site);
    deep.add(stack, 7);
    expect(samplesOf(pprofProfile(deep))).toEqual([[Array(100_000).fill("main.down:3").join(" "), 7]]);
    expect(Buffer.concat([...foldedStacks(deep)]).toString()).toMatch(/^(main\.down;)+main\.down 7\n$/);
    expect(flameGraph(deep, "deep", "html")).toContain("main.down: 7 instructions");
  });
});
