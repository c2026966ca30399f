import { gzipSync } from "node:zlib";
import type { SourceFrame } from "../../loader/symbols/table.ts";
import { ByteSink } from "./byte-sink.ts";
import { Branches, type Profile } from "./profile.ts";

/** Fields of a message are numbered; a number is of wire type 0, bytes and messages are of type 2. */
const numberTag = (field: number): number => field << 3;
const bytesTag = (field: number): number => (field << 3) | 2;
/** Fields of Profile and Sample (proto/profile.proto). */
const [SAMPLE_TYPE, SAMPLE, LOCATION, FUNCTION, STRING, PERIOD_TYPE, PERIOD] = [1, 2, 4, 5, 6, 11, 12];
const [LOCATION_IDS, VALUES] = [1, 2];

/** What is compressed at a time. */
const PIECE = 1 << 23;
/** Most of it is repetition, which zlib finds at once. */
const LEVEL = 2;

/** Writes fields of a message. */
class Message extends ByteSink {
  /** An unsigned number; 0 is left out, as it is the default. */
  number(field: number, value: number): this {
    if (value === 0) return this;
    this.varint(numberTag(field));
    this.varint(value);
    return this;
  }

  field(field: number, bytes: Uint8Array): this {
    this.varint(bytesTag(field));
    this.varint(bytes.length);
    this.write(bytes);
    return this;
  }
}

/**
 * A profile in pprof's format (github.com/google/pprof, proto/profile.proto): the sample type is instructions/count. A
 * location is a line with the calls inlined around it.
 * @returns a gzip file of one or more members (RFC 1952, 2.2)
 */
export function pprofProfile(profile: Profile): Uint8Array {
  const { strings, functionOf, functions } = functionTable();
  const out = new Message();
  const valueType = new Message().number(1, strings.of("instructions")).number(2, strings.of("count")).bytes;
  out.field(SAMPLE_TYPE, valueType);
  for (const { index, frames } of profile.sites) {
    const location = new Message().number(1, index + 1);
    for (const frame of frames)
      location.field(4, new Message().number(1, functionOf(frame)).number(2, frame.line ?? 0).bytes);
    out.field(LOCATION, location.bytes);
  }
  out.write(functions.bytes);
  const members: Uint8Array[] = [];
  const compress = (): void => {
    members.push(gzipSync(out.bytes, { level: LEVEL }));
    out.length = 0;
  };
  writeSamples(profile, out, compress);
  out.field(PERIOD_TYPE, valueType).number(PERIOD, 1);
  for (const text of strings.all) out.field(STRING, new TextEncoder().encode(text));
  compress();
  return new Uint8Array(Buffer.concat(members));
}

/** Gives functions and strings their numbers, and encodes the functions. */
function functionTable() {
  const strings = new NumberedStrings();
  const functions = new Message();
  const known = new Map<string, number>();
  const functionOf = ({ name, file }: SourceFrame): number => {
    const key = `${name}\0${file ?? ""}`;
    let id = known.get(key);
    if (id === undefined) {
      id = known.size + 1;
      known.set(key, id);
      const [text, path] = [strings.of(name), strings.of(file ?? "")];
      functions.field(FUNCTION, new Message().number(1, id).number(2, text).number(3, text).number(4, path).bytes);
    }
    return id;
  };
  return { strings, functions, functionOf };
}

class NumberedStrings {
  readonly #numbers = new Map<string, number>([["", 0]]);

  get all(): Iterable<string> {
    return this.#numbers.keys();
  }

  of(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(text, number);
    }
    return number;
  }
}

/**
 * Writes a sample for each stack with instructions of its own. The numbers of its locations stand innermost first, so
 * that what a stack hangs on is the end of its list: the tree is gone through with the list in a buffer that grows
 * downwards.
 * @param full is called where `out` has enough
 */
function writeSamples(profile: Profile, out: Message, full: () => void): void {
  let buffer = new Uint8Array(1 << 12);
  let start = buffer.length;
  const lengths: number[] = [];
  const branches = new Branches(profile.size, (stack) => profile.parentOf(stack));
  const id = new ByteSink();
  const count = new ByteSink();
  const enter = (stack: number): void => {
    id.length = 0;
    id.varint(profile.siteOf(stack).index + 1);
    if (start < id.length) {
      const grown = new Uint8Array(2 * buffer.length);
      grown.set(buffer, buffer.length);
      start += buffer.length;
      buffer = grown;
    }
    start -= id.length;
    buffer.set(id.bytes, start);
    lengths.push(id.length);
    const instructions = profile.instructionsIn(stack);
    if (instructions === 0) return;
    count.length = 0;
    count.varint(instructions);
    const locations = buffer.subarray(start);
    out.varint(bytesTag(SAMPLE));
    out.varint(1 + sizeOfVarint(locations.length) + locations.length + 2 + count.length);
    out.field(LOCATION_IDS, locations).field(VALUES, count.bytes);
    if (out.length >= PIECE) full();
  };
  branches.walk(enter, () => {
    start += lengths.pop() as number;
  });
}

function sizeOfVarint(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}
