import { PAGE_SIZE } from "./bytes.ts";

/** Data of the vDSO: a page right before it, which the kernel layer keeps up to date and the guest only reads. */
export const VVAR = {
  size: PAGE_SIZE,
  /** Bit N: clock N (CLOCK_*) is the time stamp counter, in ns, plus its offset; others take a system call. u32. */
  clocks: 0,
  /** ns to add to the time stamp counter, one i64 a clock. */
  offsets: 16,
} as const;
/** Clock ids below this may be in VVAR.clocks. */
export const VVAR_CLOCKS = 12;
/** Where clock id 0, CLOCK_REALTIME, has its offset; gettimeofday and time read it. */
const REALTIME_OFFSET = VVAR.offsets;
const REALTIME_BIT = 1;

/**
 * Offsets from 0 to this, in ns, are good for VVAR.clocks: the functions divide by a second in one step, whose quotient has
 * 32 bits, and 2^32 seconds are some nine years of running further off.
 */
export const VDSO_OFFSET_LIMIT = 4_000_000_000_000_000_000n;

/** A function of the vDSO: its name, and the code for it at an offset in the image. */
export interface VdsoFunction {
  readonly name: string;
  code(offset: number): Uint8Array;
}

/** Machine code, byte by byte, with jumps to labels behind it and operands relative to RIP. */
class CodeWriter {
  readonly #start: number;
  readonly #bytes: number[] = [];
  readonly #jumps = new Map<string, number[]>();

  /** @param start offset in the image */
  constructor(start: number) {
    this.#start = start;
  }

  bytes(...bytes: readonly number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  u32(value: number): this {
    return this.bytes(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
  }

  /** An opcode with a displacement from RIP to the data page. @param immediate bytes of the instruction behind it */
  data(opcode: readonly number[], field: number, ...immediate: readonly number[]): this {
    this.bytes(...opcode);
    const next = this.#start + this.#bytes.length + 4 + immediate.length;
    return this.u32((field - VVAR.size - next) >>> 0).bytes(...immediate);
  }

  /** A short jump by opcode to a label that comes later. */
  jump(opcode: number, label: string): this {
    this.bytes(opcode, 0);
    this.#jumps.set(label, [...(this.#jumps.get(label) ?? []), this.#bytes.length]);
    return this;
  }

  label(name: string): this {
    for (const from of this.#jumps.get(name) ?? []) this.#bytes[from - 1] = this.#bytes.length - from;
    return this;
  }

  /** mov eax, number; syscall; ret: arguments are where the system call takes them, rcx and r11 may be changed. */
  systemCall(number: number): this {
    return this.bytes(0xb8).u32(number).bytes(0x0f, 0x05, 0xc3);
  }

  /** div by a number: EDX:EAX to quotient EAX and remainder EDX; changes ECX. */
  divide(by: number): this {
    return this.bytes(0xb9).u32(by).bytes(0xf7, 0xf1); // mov ecx, by; div ecx
  }

  /** CLOCK_REALTIME's seconds in RAX and nanoseconds in RDX, or on to "slow". */
  realtime(): this {
    return this.bytes(0x0f, 0x31) // rdtsc
      .data([0x03, 0x05], REALTIME_OFFSET) // add eax, [rip+offset]
      .data([0x13, 0x15], REALTIME_OFFSET + 4) // adc edx, [rip+offset+4]
      .divide(1_000_000_000);
  }

  realtimeOrSlow(): this {
    return this.data([0xf6, 0x05], VVAR.clocks, REALTIME_BIT).jump(0x74, "slow"); // test byte [rip+clocks], 1; jz
  }

  get code(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

/** int clock_gettime(clockid_t edi, struct timespec *rsi) */
function clockGettime(offset: number): Uint8Array {
  return new CodeWriter(offset)
    .bytes(0x83, 0xff, VVAR_CLOCKS - 1) // cmp edi, 11
    .jump(0x77, "slow") // ja: also negative ids
    .data([0x8b, 0x05], VVAR.clocks) // mov eax, [rip+clocks]
    .bytes(0x0f, 0xa3, 0xf8) // bt eax, edi
    .jump(0x73, "slow") // jnc
    .bytes(0x89, 0xf9) // mov ecx, edi
    .data([0x4c, 0x8d, 0x05], VVAR.offsets) // lea r8, [rip+offsets]
    .bytes(0x0f, 0x31) // rdtsc
    .bytes(0x41, 0x03, 0x04, 0xc8) // add eax, [r8+rcx*8]
    .bytes(0x41, 0x13, 0x54, 0xc8, 0x04) // adc edx, [r8+rcx*8+4]
    .divide(1_000_000_000)
    .bytes(0x48, 0x89, 0x06) // mov [rsi], rax
    .bytes(0x48, 0x89, 0x56, 0x08) // mov [rsi+8], rdx
    .bytes(0x31, 0xc0, 0xc3) // xor eax, eax; ret
    .label("slow")
    .systemCall(228).code;
}

/** int gettimeofday(struct timeval *rdi, struct timezone *rsi): either may be null. */
function gettimeofday(offset: number): Uint8Array {
  return new CodeWriter(offset)
    .realtimeOrSlow()
    .bytes(0x48, 0x85, 0xff) // test rdi, rdi
    .jump(0x74, "zone") // jz
    .realtime()
    .bytes(0x48, 0x89, 0x07) // mov [rdi], rax
    .bytes(0x89, 0xd0, 0x31, 0xd2) // mov eax, edx; xor edx, edx
    .divide(1000)
    .bytes(0x48, 0x89, 0x47, 0x08) // mov [rdi+8], rax
    .label("zone")
    .bytes(0x48, 0x85, 0xf6) // test rsi, rsi
    .jump(0x74, "done") // jz
    .bytes(0x48, 0xc7, 0x06, 0, 0, 0, 0) // mov qword [rsi], 0
    .label("done")
    .bytes(0x31, 0xc0, 0xc3) // xor eax, eax; ret
    .label("slow")
    .systemCall(96).code;
}

/** time_t time(time_t *rdi): may be null. */
function time(offset: number): Uint8Array {
  return new CodeWriter(offset)
    .realtimeOrSlow()
    .realtime()
    .bytes(0x48, 0x85, 0xff) // test rdi, rdi
    .jump(0x74, "done") // jz
    .bytes(0x48, 0x89, 0x07) // mov [rdi], rax
    .label("done")
    .bytes(0xc3)
    .label("slow")
    .systemCall(201).code;
}

const asSystemCall =
  (number: number) =>
  (offset: number): Uint8Array =>
    new CodeWriter(offset).systemCall(number).code;

/**
 * The functions of vdso(7) on x86-64. As Linux's (lib/vdso/gettimeofday.c) they read clocks from the time stamp counter
 * and a data page, take a system call where that does not tell, and fault at a bad pointer. Here the counter runs at 1 GHz
 * and is CLOCK_MONOTONIC itself, so that a clock is one addition away and nothing has to be read twice.
 */
export const VDSO_FUNCTIONS: readonly VdsoFunction[] = [
  { name: "__vdso_clock_gettime", code: clockGettime },
  { name: "__vdso_gettimeofday", code: gettimeofday },
  { name: "__vdso_time", code: time },
  { name: "__vdso_getcpu", code: asSystemCall(309) },
  { name: "__vdso_clock_getres", code: asSystemCall(229) },
];
