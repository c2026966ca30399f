import { describe, expect, it } from "vitest";
import { FileBytes, type FileSource } from "./bytes.ts";

const SIZE = 300_000;
const content = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 8)) & 0xff);

/** A source that gives at most `most` bytes at a time and counts those asked for. */
class Source implements FileSource {
  readonly size = SIZE;
  readonly #most: number;
  readonly #end: number;
  count = 0;

  constructor(most: number, end = SIZE) {
    this.#most = most;
    this.#end = end;
  }

  read(into: Uint8Array, offset: number): number {
    const part = content.subarray(offset, Math.min(offset + into.length, offset + this.#most, this.#end));
    into.set(part);
    this.count += part.length;
    return part.length;
  }
}

const fail = (message: string): Error => new Error(message);

describe("FileBytes", () => {
  it("reads what is asked for, once", () => {
    const source = new Source(1000);
    const file = new FileBytes(source);
    expect(source.count).toBe(0);
    expect(file.length).toBe(SIZE);
    for (const [from, to] of [
      [0, 10],
      [16_380, 16_400],
      [5, 20],
      [SIZE - 3, SIZE + 10],
      [100_000, 200_000],
    ]) {
      expect(file.subarray(from, to)).toEqual(content.subarray(from, to));
    }
    const before = source.count;
    expect(before).toBeLessThan(200_000);
    expect(file.subarray(110_000, 120_000)).toEqual(content.subarray(110_000, 120_000));
    expect(source.count).toBe(before);
    expect(file.all).toEqual(content);
    expect(source.count).toBe(SIZE);
  });

  it("gives readers that read as they go, within their bounds", () => {
    const source = new Source(SIZE);
    const file = new FileBytes(source);
    const reader = file.reader(40_000, 290_000, "part", fail);
    expect(source.count).toBe(0);
    const view = new DataView(content.buffer);
    expect(reader.u32(10)).toBe(view.getUint32(40_010, true));
    expect(reader.u8(249_999)).toBe(content[289_999]);
    expect(() => reader.u16(249_999)).toThrow("part");
    const inner = reader.from(100_000, "inner", fail);
    expect(inner.i64(0)).toBe(Number(view.getBigInt64(140_000, true)));
    expect(inner.slice(7, 50_000)).toEqual(content.subarray(140_007, 190_007));
    expect(source.count).toBeLessThan(150_000);
    const zero = content.indexOf(0, 45_000);
    const text = new TextDecoder().decode(content.subarray(45_000, zero));
    expect(reader.cstring(5000)).toBe(text);
    expect(reader.bytes).toEqual(content.subarray(40_000, 290_000));
  });

  it("is zero where a file has become shorter", () => {
    const file = new FileBytes(new Source(SIZE, 1234));
    const expected = new Uint8Array(2000);
    expected.set(content.subarray(0, 1234));
    expect(file.subarray(0, 2000)).toEqual(expected);
  });

  it("takes bytes as they are", () => {
    const file = new FileBytes(content);
    expect(file.subarray(10, 20).buffer).toBe(content.buffer);
    const into = new Uint8Array(8);
    expect(file.read(into, SIZE - 5)).toBe(5);
    expect(into.subarray(0, 5)).toEqual(content.subarray(SIZE - 5));
  });
});
