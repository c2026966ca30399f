import { readFileSync } from "node:fs";
import { ELF_HEADER_SIZE, ET_EXEC, PF_R, PF_X, PROGRAM_HEADER_SIZE, PT_LOAD } from "./elf-constants.ts";

// Support for the loader's tests: small ELF files made in code, and the compiled fixtures.

/** A program header of a test file. What is left out is that of a loadable code segment over the whole file. */
export interface TestSegment {
  readonly type?: number;
  readonly flags?: number;
  readonly offset?: number;
  readonly vaddr?: number;
  readonly fileSize?: number;
  readonly memSize?: number;
  readonly align?: number;
}

export interface TestElf {
  readonly type?: number;
  readonly machine?: number;
  readonly entry?: number;
  readonly segments?: readonly TestSegment[];
  /** Contents put at file offsets. */
  readonly contents?: readonly (readonly [offset: number, bytes: Uint8Array])[];
  /** File size; the default holds the headers and 256 bytes more. */
  readonly size?: number;
  readonly sectionOffset?: number;
  readonly sectionCount?: number;
  readonly sectionNamesIndex?: number;
}

export const TEST_BASE = 0x40_0000;

/** The bytes of an ELF64 x86-64 file; without options a valid executable with one segment and no sections. */
export function testElf(options: TestElf = {}): Uint8Array {
  const segments = options.segments ?? [{}];
  const headersEnd = ELF_HEADER_SIZE + segments.length * PROGRAM_HEADER_SIZE;
  const bytes = new Uint8Array(options.size ?? headersEnd + 256);
  const view = new DataView(bytes.buffer);
  const u64 = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, options.type ?? ET_EXEC, true);
  view.setUint16(18, options.machine ?? 62, true);
  view.setUint32(20, 1, true);
  u64(24, options.entry ?? TEST_BASE + headersEnd);
  u64(32, ELF_HEADER_SIZE);
  u64(40, options.sectionOffset ?? 0);
  view.setUint16(52, ELF_HEADER_SIZE, true);
  view.setUint16(54, PROGRAM_HEADER_SIZE, true);
  view.setUint16(56, segments.length, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, options.sectionCount ?? 0, true);
  view.setUint16(62, options.sectionNamesIndex ?? 0, true);
  segments.forEach((segment, index) => {
    const at = ELF_HEADER_SIZE + index * PROGRAM_HEADER_SIZE;
    const fileSize = segment.fileSize ?? bytes.length - (segment.offset ?? 0);
    view.setUint32(at, segment.type ?? PT_LOAD, true);
    view.setUint32(at + 4, segment.flags ?? PF_R | PF_X, true);
    u64(at + 8, segment.offset ?? 0);
    u64(at + 16, segment.vaddr ?? TEST_BASE);
    u64(at + 24, segment.vaddr ?? TEST_BASE);
    u64(at + 32, fileSize);
    u64(at + 40, segment.memSize ?? fileSize);
    u64(at + 48, segment.align ?? 4096);
  });
  for (const [offset, content] of options.contents ?? []) {
    bytes.set(content, offset);
  }
  return bytes;
}

/** Little-endian 64-bit words as bytes. */
export function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    view.setBigUint64(index * 8, BigInt.asUintN(64, BigInt(value)), true);
  });
  return bytes;
}

/** The bytes of a compiled fixture. */
export function fixture(name: string): Uint8Array {
  return readFileSync(new URL(`../fixtures/bin/${name}`, import.meta.url));
}
