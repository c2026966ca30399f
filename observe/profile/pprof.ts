import { gzipSync } from "node:zlib";
import type { SourceFrame } from "../../loader/symbols/table.ts";
import type { StackCount } from "./profiler.ts";

/** Writes protocol buffers: fields by number, varints and length-delimited bytes (protobuf.dev, Encoding). */
class Message {
  readonly #pieces: Uint8Array[] = [];

  static varint(value: number): number[] {
    const bytes: number[] = [];
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
    bytes.push(rest);
    return bytes;
  }

  /** An unsigned number; 0 is left out, as it is the default. */
  number(field: number, value: number): this {
    if (value !== 0) this.#pieces.push(Uint8Array.from([...Message.varint(field << 3), ...Message.varint(value)]));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#pieces.push(Uint8Array.from([...Message.varint((field << 3) | 2), ...Message.varint(value.length)]), value);
    return this;
  }

  packed(field: number, values: readonly number[]): this {
    const bytes: number[] = [];
    for (const value of values) {
      let rest = value;
      for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
      bytes.push(rest);
    }
    return this.bytes(field, Uint8Array.from(bytes));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#pieces));
  }
}

/**
 * Stacks with their instruction counts in pprof's format, gzipped (github.com/google/pprof, proto/profile.proto): the
 * sample type is instructions/count.
 */
export function pprofProfile(stacks: readonly StackCount[]): Uint8Array {
  const strings = new Map<string, number>([["", 0]]);
  const stringOf = (text: string): number => indexIn(strings, text, 0);
  const functions = new Map<string, number>();
  const locations = new Map<string, number>();
  const profile = new Message();
  const valueType = new Message().number(1, stringOf("instructions")).number(2, stringOf("count"));
  profile.message(1, valueType);
  const functionOf = ({ name, file }: SourceFrame): number => {
    const key = `${name}\0${file ?? ""}`;
    const known = functions.get(key);
    if (known !== undefined) return known;
    const id = indexIn(functions, key, 1);
    const fields = new Message().number(1, id).number(2, stringOf(name)).number(3, stringOf(name));
    profile.message(5, fields.number(4, stringOf(file ?? "")));
    return id;
  };
  // Stacks share their frames: most are known without looking at their text.
  const frameLocations = new Map<SourceFrame, number>();
  const locationOf = (frame: SourceFrame): number => {
    let location = frameLocations.get(frame);
    if (location === undefined) {
      location = findLocation(frame);
      frameLocations.set(frame, location);
    }
    return location;
  };
  const findLocation = (frame: SourceFrame): number => {
    const key = `${frame.name}\0${frame.file ?? ""}\0${frame.line ?? 0}`;
    const known = locations.get(key);
    if (known !== undefined) return known;
    const id = indexIn(locations, key, 1);
    const line = new Message().number(1, functionOf(frame)).number(2, frame.line ?? 0);
    profile.message(4, new Message().number(1, id).message(4, line));
    return id;
  };
  for (const { frames, instructions } of stacks) {
    if (instructions > 0) profile.message(2, new Message().packed(1, frames.map(locationOf)).packed(2, [instructions]));
  }
  profile.message(11, valueType).number(12, 1);
  for (const text of strings.keys()) profile.bytes(6, new TextEncoder().encode(text));
  return new Uint8Array(gzipSync(profile.finish()));
}

/** The number of `key`, counted from `first`; a new one if it has none. */
function indexIn(map: Map<string, number>, key: string, first: number): number {
  let index = map.get(key);
  if (index === undefined) {
    index = map.size + first;
    map.set(key, index);
  }
  return index;
}
