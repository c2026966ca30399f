import { Decoder, DecoderOptions, FlowControl } from "iced-x86";
import { PROT_EXEC } from "../../emu/layout.ts";
import type { SourceFrame } from "../../loader/symbols/table.ts";
import type { Machine } from "../../syscalls/machine.ts";

/** Instructions of a block that come from one line, in the order of the code. */
export interface BlockLine {
  readonly frames: readonly SourceFrame[];
  /** Tells lines apart, the calls inlined around them included. */
  readonly key: string;
  readonly instructions: number;
}

const MAX_INSTRUCTION = 15;
const caches = new WeakMap<Machine, Map<string, readonly BlockLine[]>>();

/**
 * What source the first `count` instructions of a block come from. Where the block ends earlier, the rest are
 * repetitions of its string instruction.
 */
export function sourceOfBlock(machine: Machine, address: number, count: number): readonly BlockLine[] {
  let cache = caches.get(machine);
  if (cache === undefined) {
    cache = new Map();
    caches.set(machine, cache);
  }
  const key = `${address}:${count}`;
  let lines = cache.get(key);
  if (lines === undefined) {
    lines = readBlock(machine, address, count);
    cache.set(key, lines);
  }
  return lines;
}

function readBlock(machine: Machine, address: number, count: number): readonly BlockLine[] {
  const { memory } = machine;
  const length = memory.accessible(address, count * MAX_INSTRUCTION, PROT_EXEC);
  const weights: { at: number; weight: number }[] = [];
  let repeated: { at: number; weight: number } | undefined;
  if (length > 0) {
    const decoder = new Decoder(64, memory.readBytes(address, length), DecoderOptions.None);
    while (weights.length < count && decoder.canDecode) {
      const entry = { at: address + decoder.position, weight: 1 };
      const instruction = decoder.decode();
      weights.push(entry);
      if (instruction.hasRepPrefix || instruction.hasRepnePrefix) repeated ??= entry;
      const ends = instruction.flowControl !== FlowControl.Next;
      instruction.free();
      if (ends) break;
    }
    decoder.free();
  }
  if (weights.length === 0) weights.push({ at: address, weight: 0 });
  (repeated ?? weights[weights.length - 1]).weight += count - weights.length;
  return group(machine, weights);
}

function group(machine: Machine, weights: readonly { at: number; weight: number }[]): readonly BlockLine[] {
  const lines: { frames: readonly SourceFrame[]; key: string; instructions: number }[] = [];
  for (const { at, weight } of weights) {
    const frames = framesAt(machine, at);
    const key = frames.map(({ name, file, line }) => `${name}\0${file}\0${line}`).join("\0\0");
    const last = lines.at(-1);
    if (last?.key === key) last.instructions += weight;
    else lines.push({ frames, key, instructions: weight });
  }
  return lines;
}

function framesAt({ symbols, process }: Machine, address: number): readonly SourceFrame[] {
  const frames = symbols.inlineStack(address);
  if (frames.length > 0) return frames;
  const mapping = process.memory.space.vmas.at(address);
  const name = symbols.lookup(address)?.name ?? mapping?.name ?? `0x${address.toString(16)}`;
  return [{ name, file: undefined, line: undefined }];
}
