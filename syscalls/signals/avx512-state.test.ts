import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, guestTest, hostIsNative } from "../testing/guest.ts";
import { handlers, install, raise, recordWord, UC } from "../testing/handlers.ts";

/** Instructions with an operand at an absolute address: opcode bytes up to ModRM and SIB. */
const OP = {
  loadZmm1: [0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x0c, 0x25],
  loadZmm17: [0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x0c, 0x25],
  storeZmm1: [0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x0c, 0x25],
  storeZmm17: [0x62, 0xe1, 0xfe, 0x48, 0x7f, 0x0c, 0x25],
  loadK3: [0xc4, 0xe1, 0xf8, 0x90, 0x1c, 0x25],
  storeK3: [0xc4, 0xe1, 0xf8, 0x91, 0x1c, 0x25],
  xsave64: [0x48, 0x0f, 0xae, 0x24, 0x25],
  xsavec64: [0x48, 0x0f, 0xc7, 0x24, 0x25],
  xsaveopt64: [0x48, 0x0f, 0xae, 0x34, 0x25],
  xrstor64: [0x48, 0x0f, 0xae, 0x2c, 0x25],
} as const;
/** vpxorq zmm1, vpxorq zmm17, kxorq k3: each with itself. */
const CLEAR = [
  ...[0x62, 0xf1, 0xf5, 0x48, 0xef, 0xc9],
  ...[0x62, 0xa1, 0xf5, 0x40, 0xef, 0xc9],
  ...[0xc4, 0xe1, 0xe4, 0x47, 0xdb],
];

const [AREA, ONE, SEVENTEEN, MASK, SEEN] = [0x4000, 0x100, 0x140, 0x180, 0x200].map((offset) => DATA + offset);
const HEADER = AREA + 512;
const words = (start: bigint): bigint[] => Array.from({ length: 8 }, (_, i) => start + BigInt(i));
const [FIRST, SECOND, K3] = [words(0x1111_0000_0000_0000n), words(0x2222_0000_0000_0000n), 0x0123_4567_89ab_cdefn];
const ZEROS = words(0n).map(() => 0n);

const hostHas = hostIsNative && /\bavx512f\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
const V4 = { cpu: "x86-64-v4", native: hostHas };

function at(a: Assembler, op: keyof typeof OP, address: number): Assembler {
  return a.bytes(...OP[op], ...[0, 8, 16, 24].map((shift) => (address >>> shift) & 0xff));
}

/** Other values than at first in ZMM1, ZMM17 and k3. */
function fill(a: Assembler): void {
  for (const [i, word] of FIRST.entries()) a.put(ONE + 8 * i, word);
  for (const [i, word] of SECOND.entries()) a.put(SEVENTEEN + 8 * i, word);
  a.put(MASK, K3);
  at(a, "loadZmm1", ONE);
  at(a, "loadZmm17", SEVENTEEN);
  at(a, "loadK3", MASK);
}

/** Records ZMM1, ZMM17 and k3. */
function look(a: Assembler): void {
  at(a, "storeZmm1", SEEN);
  at(a, "storeZmm17", SEEN + 64);
  at(a, "storeK3", SEEN + 128);
  for (let i = 0; i < 17; i++) recordWord(a, SEEN + 8 * i);
}

const components = (a: Assembler, mask: number): Assembler => a.mov("rax", mask).mov("rdx", 0);

describe("AVX-512 state", () => {
  for (const save of ["xsave64", "xsavec64", "xsaveopt64"] as const) {
    guestTest(
      `is saved and restored: ${save.toUpperCase()}`,
      (a) => {
        fill(a);
        at(components(a, 0xe7), save, AREA);
        at(components(a.bytes(...CLEAR), 0xe7), "xrstor64", AREA);
        look(a);
      },
      ({ words: seen }) => expect(seen).toEqual([...FIRST, ...SECOND, K3]),
      V4,
    );
  }

  guestTest(
    "is only that of the components asked for",
    (a) => {
      fill(a);
      // Opmasks and ZMM16–31; of ZMM1 nothing.
      at(components(a, 0xa0), "xsavec64", AREA);
      recordWord(a, HEADER);
      recordWord(a, HEADER + 8);
      // In the compacted format k3 lies right behind the header, and the high registers behind the opmasks.
      recordWord(a, AREA + 576 + 3 * 8);
      recordWord(a, AREA + 640 + 64);
      at(components(a.bytes(...CLEAR), 0xa0), "xrstor64", AREA);
      look(a);
    },
    ({ words: seen }) => expect(seen).toEqual([0xa0n, (1n << 63n) | 0xa0n, K3, SECOND[0], ...ZEROS, ...SECOND, K3]),
    V4,
  );

  guestTest(
    "becomes initial for components that the area has not got",
    (a) => {
      fill(a);
      at(components(a, 0x20), "xsavec64", AREA);
      at(components(a, 0xe6), "xrstor64", AREA);
      look(a);
    },
    ({ words: seen }) => expect(seen).toEqual([...ZEROS, ...ZEROS, K3]),
    V4,
  );

  guestTest(
    "comes back from a signal handler that changes it",
    (a) => {
      handlers(a, () => {
        a.label("handler")
          .bytes(...CLEAR)
          .ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      fill(a);
      raise(a, SIGNAL.SIGUSR1);
      look(a);
    },
    ({ words: seen }) => expect(seen).toEqual([...FIRST, ...SECOND, K3]),
    V4,
  );

  guestTest(
    "is gone behind a handler that takes it out of its frame",
    (a) => {
      handlers(a, () => {
        a.label("handler").mov("rax", 0).store({ base: "rdx", at: UC.fpstate }, "rax").ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      fill(a);
      raise(a, SIGNAL.SIGUSR1);
      look(a);
    },
    ({ words: seen }) => expect(seen).toEqual([...ZEROS, ...ZEROS, 0n]),
    V4,
  );

  guestTest(
    "is not there without AVX-512: its instructions are undefined",
    (a) => {
      handlers(a, () => {
        a.label("handler").mov("rax", 1).record().jmp("finish");
      });
      install(a, SIGNAL.SIGILL, "handler");
      fill(a);
      a.mov("rax", 2).record();
    },
    ({ words: seen }) => expect(seen).toEqual([1n, 0n]),
    { cpu: "x86-64-v3", native: false },
  );
});
