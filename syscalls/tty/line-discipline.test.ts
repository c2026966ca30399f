import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import * as abi from "../abi/termios.ts";
import { STANDARD_TERMIOS, type Termios } from "../abi/termios.ts";
import { IoVector } from "../files/io-vector.ts";
import { Random } from "../testing/random.ts";
import { Pty, type PtyKernel } from "./pty.ts";

/** A line discipline's input, and what becomes of it: bytes shown, and those that reads get. */
type Operation = { type: number[] } | { write: number[] } | { read: number };
interface Case {
  readonly iflag: number;
  readonly oflag: number;
  readonly lflag: number;
  readonly cc: readonly number[];
  readonly operations: readonly Operation[];
}

/** A kernel without processes. */
const NOBODY: PtyKernel = {
  signalGroup: () => {},
  disassociate: () => {},
  hangUp: () => {},
  mayUse: () => true,
  after: () => () => {},
};

/** Carries cases out on pseudo-terminals of the kernel's, which echo a little later: that is waited for as long as said. */
const ORACLE = `
import json, os, sys, termios, time, fcntl, struct, array
def drain(fd, size=65536):
    try: return list(os.read(fd, size))
    except BlockingIOError: return []
def settle(fd):
    out = drain(fd)
    for _ in range(3):
        time.sleep(float(sys.argv[1]))
        out += drain(fd)
    return out
told = []
for case in json.load(sys.stdin):
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[0], attributes[1], attributes[3] = case["iflag"], case["oflag"], case["lflag"]
    raw = bytearray(36)
    fcntl.ioctl(slave, 0x5401, raw)
    struct.pack_into("II", raw, 0, case["iflag"], case["oflag"])
    struct.pack_into("I", raw, 12, case["lflag"])
    raw[17:17 + 19] = bytes(case["cc"])
    fcntl.ioctl(slave, 0x5402, bytes(raw))
    for fd in (master, slave): os.set_blocking(fd, False)
    results = []
    for operation in case["operations"]:
        if "type" in operation:
            os.write(master, bytes(operation["type"]))
            results.append(settle(master))
        elif "write" in operation:
            try: os.write(slave, bytes(operation["write"]))
            except BlockingIOError: pass
            results.append(settle(master))
        else:
            try: got = list(os.read(slave, operation["read"]))
            except BlockingIOError: got = None
            count = array.array("i", [0])
            fcntl.ioctl(slave, 0x541b, count)
            results.append([got, count[0]])
    told.append(results)
    os.close(slave); os.close(master)
json.dump(told, sys.stdout)
`;

function ours({ iflag, oflag, lflag, cc, operations }: Case): unknown[] {
  const pty = new Pty(0, 0n, NOBODY);
  const termios: Termios = { ...STANDARD_TERMIOS, iflag, oflag, lflag, cc: Uint8Array.from(cc) };
  pty.open();
  pty.setAttributes(termios, "now");
  const shown = (): number[] => {
    const bytes = new Uint8Array(65536);
    const count = pty.masterQueued === 0 ? 0 : pty.masterRead(IoVector.buffer(bytes));
    return [...bytes.subarray(0, count)];
  };
  return operations.map((operation) => {
    if ("type" in operation) {
      pty.masterWrite(IoVector.buffer(Uint8Array.from(operation.type)));
      return shown();
    }
    if ("write" in operation) {
      pty.write(IoVector.buffer(Uint8Array.from(operation.write)));
      return shown();
    }
    const bytes = new Uint8Array(operation.read);
    const count = pty.read(IoVector.buffer(bytes), false);
    return [count < 0 ? null : [...bytes.subarray(0, count)], pty.inputQueued()];
  });
}

function kernels(cases: readonly Case[], patience: number): unknown[][] {
  const options = { input: JSON.stringify(cases), encoding: "utf8" } as const;
  return JSON.parse(execFileSync("python3", ["-c", ORACLE, String(patience)], options));
}

const IFLAGS = [abi.ISTRIP, abi.INLCR, abi.IGNCR, abi.ICRNL, abi.IUCLC, abi.IXON, abi.IXANY, abi.IUTF8, abi.PARMRK];
const OFLAGS = [abi.OPOST, abi.OLCUC, abi.ONLCR, abi.OCRNL, abi.ONOCR, abi.ONLRET, abi.XTABS];
const LFLAGS = [
  ...[abi.ISIG, abi.ICANON, abi.ECHO, abi.ECHOE, abi.ECHOK, abi.ECHONL, abi.NOFLSH, abi.ECHOCTL, abi.ECHOPRT],
  ...[abi.ECHOKE, abi.IEXTEN],
];
/**
 * Where the kernel (6.18 at least) takes back an erased character's echo that it has not shown yet, its reader of the ring
 * of echoes now and then passes the writer and shows the whole ring, 4096 bytes: nothing to be like.
 */
const OVERRUN = 4096;
/** What is typed most: letters, a tab, UTF-8, and the characters that mean something. */
const TYPED = [..."ab Z_9", "\t", "\r", "\n"].map((c) => c.charCodeAt(0));
const UTF8 = [0xc3, 0xa4];
const CONTROLS = [127, 21, 23, 22, 18, 4, 3, 1, 0x1b, 0xff];

describe("the line discipline", () => {
  it("starts as the kernel's", () => {
    const pty = new Pty(0, 0n, NOBODY);
    expect(pty.attributes()).toEqual(STANDARD_TERMIOS);
  });

  const python = spawnSync("python3", ["-c", "import os; os.openpty()"]).status === 0;
  it.skipIf(!python || process.platform !== "linux")(
    "does with random settings and input what the kernel's does (skipped without Linux and python3)",
    () => {
      const seed = Number(process.env["GOEMU_SEED"] ?? Date.now() % 1_000_000);
      const draw = new Random(seed);
      const below = (n: number): number => draw.below(n);
      const typed = (): number[] => {
        const bytes: number[] = [];
        for (let i = 1 + below(8); i > 0; i--) {
          const kind = below(10);
          if (kind === 0) bytes.push(...UTF8);
          else bytes.push(kind < 7 ? draw.pick(TYPED) : draw.pick(CONTROLS));
        }
        return bytes;
      };
      const flags = (all: readonly number[], usual: number): number =>
        below(3) === 0 ? usual : all.reduce((sum, flag) => (below(3) > 0 ? sum | flag : sum), 0);
      const cases: Case[] = Array.from({ length: 100 }, () => ({
        iflag: flags(IFLAGS, STANDARD_TERMIOS.iflag),
        oflag: flags(OFLAGS, STANDARD_TERMIOS.oflag),
        lflag: flags(LFLAGS, STANDARD_TERMIOS.lflag),
        cc: below(3) === 0 ? [...STANDARD_TERMIOS.cc].with(abi.VEOL, 0x5f) : [...STANDARD_TERMIOS.cc],
        operations: Array.from({ length: 6 }, () => {
          const kind = below(6);
          if (kind < 3) return { type: typed() };
          return kind === 3 ? { write: typed() } : { read: 1 + below(20) };
        }),
      }));
      // Where the kernel was too late for what we waited, it is asked again with more patience.
      let different = cases;
      for (const patience of [0.0005, 0.01, 0.1]) {
        const told = kernels(different, patience);
        different = different.filter((each, index) => {
          const kernel = JSON.stringify(told[index]);
          return kernel.length < OVERRUN && JSON.stringify(ours(each)) !== kernel;
        });
      }
      const told = kernels(different, 0.1);
      const lines = (results: readonly unknown[], { operations }: Case): string[] =>
        results.map((result, n) => `${JSON.stringify(operations[n])} -> ${JSON.stringify(result)}`);
      for (const [index, each] of different.entries()) {
        expect(lines(ours(each), each), `seed ${seed}: ${JSON.stringify(each)}`).toEqual(lines(told[index], each));
      }
    },
    60_000,
  );
});
