import { Decoder, DecoderOptions, FlowControl } from "iced-x86";
import { PROT_EXEC } from "../../emu/layout.ts";
import type { SourceFrame } from "../../loader/symbols/table.ts";
import type { Machine } from "../../syscalls/machine.ts";
import type { Site, Sites } from "./profile.ts";

/** Most instructions of a block (emu/interpreter/code-cache.ts); more are repetitions of string instructions. */
export const MAX_BLOCK = 64;

/** A block by its address and how many of its instructions ran, in one exact number. */
export const blockKey = (address: number, count: number): number =>
  address * MAX_BLOCK + Math.min(count, MAX_BLOCK) - 1;
export const blockAddress = (key: number): number => Math.floor(key / MAX_BLOCK);
export const blockCount = (key: number): number => (key % MAX_BLOCK) + 1;

/** Instructions of a block that come from one line, in the order of the code. */
export interface BlockLine {
  readonly site: Site;
  readonly instructions: number;
  /** Has it the string instruction whose repetitions are more than the block can have? */
  readonly repeats: boolean;
}

/** An instruction, and how often it ran each time that its block did. */
interface Weight {
  readonly at: number;
  weight: number;
  repeats: boolean;
}

const MAX_INSTRUCTION = 15;

/**
 * What source the first `count` instructions of a block come from. Where the block ends earlier, the rest are
 * repetitions of its string instruction.
 */
export function sourceOfBlock(machine: Machine, sites: Sites, address: number, count: number): readonly BlockLine[] {
  const { memory } = machine;
  const length = memory.accessible(address, count * MAX_INSTRUCTION, PROT_EXEC);
  const weights: Weight[] = [];
  let repeated: Weight | undefined;
  if (length > 0) {
    const decoder = new Decoder(64, memory.readBytes(address, length), DecoderOptions.None);
    while (weights.length < count && decoder.canDecode) {
      const entry = { at: address + decoder.position, weight: 1, repeats: false };
      const instruction = decoder.decode();
      weights.push(entry);
      if (instruction.hasRepPrefix || instruction.hasRepnePrefix) repeated ??= entry;
      const ends = instruction.flowControl !== FlowControl.Next;
      instruction.free();
      if (ends) break;
    }
    decoder.free();
  }
  if (weights.length === 0) weights.push({ at: address, weight: 0, repeats: false });
  repeated ??= weights[weights.length - 1];
  repeated.weight += count - weights.length;
  repeated.repeats = true;
  return group(machine, sites, weights);
}

function group(machine: Machine, sites: Sites, weights: readonly Weight[]): readonly BlockLine[] {
  const lines: { site: Site; instructions: number; repeats: boolean }[] = [];
  for (const { at, weight, repeats } of weights) {
    const site = sites.at(at, () => framesAt(machine, at));
    const last = lines.at(-1);
    if (last?.site !== site) lines.push({ site, instructions: weight, repeats });
    else {
      last.instructions += weight;
      last.repeats ||= repeats;
    }
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
