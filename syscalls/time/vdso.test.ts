import { describe, expect, it } from "vitest";
import { buildVdso } from "../../loader/vdso.ts";
import type { MachineOptions } from "../machine.ts";
import { mapsText } from "../proc/maps.ts";
import type { Assembler } from "../testing/assembler.ts";
import { buildGuest, DATA, type GuestRun, machineOf, outcome } from "../testing/guest.ts";
import { TestHost } from "../testing/test-host.ts";
import { CLOCK } from "./clocks.ts";

const { functions } = buildVdso();
const SYS = { write: 1, gettimeofday: 96, time: 201, clock_gettime: 228, exit_group: 231 } as const;
/** The guest finds the vDSO's address here. */
const VDSO = DATA;
const TIME = DATA + 0x100;
const SECOND = 1_000_000_000n;

/** A host whose clocks are what a test says; the wall clock goes with the monotonic clock unless it is `loose`. */
class ClockHost extends TestHost {
  now = 5_000_000_000_123;
  offset = 1_700_000_000_987_654_321n;
  readonly #step: number;
  realtimeOffsetNs: (() => bigint) | undefined = () => this.offset;

  constructor(options: { step?: number; loose?: boolean } = {}) {
    super();
    this.#step = options.step ?? 0;
    if (options.loose) this.realtimeOffsetNs = undefined;
  }

  override monotonicNs(): number {
    this.now += this.#step;
    return this.now;
  }

  override realtimeNs(): bigint {
    return this.offset + BigInt(Math.floor(this.monotonicNs()));
  }
}

/** Calls a function of the vDSO; its result is in RAX. */
function callVdso(a: Assembler, name: string, first: number | bigint, second: number | bigint = 0): Assembler {
  a.load("rax", VDSO).mov("rdi", functions.get(name) as number);
  return a.add("rax", "rdi").mov("rdi", first).mov("rsi", second).bytes(0xff, 0xd0);
}

interface VdsoRun extends GuestRun {
  /** System calls made, by number, but for the report and the end. */
  readonly calls: Record<number, number>;
  readonly maps: string;
}

async function run(
  build: (a: Assembler) => void,
  options: Partial<MachineOptions> & { readonly host: ClockHost },
): Promise<VdsoRun> {
  const guest = buildGuest(build);
  const { machine, host } = machineOf(guest, options);
  if (machine.core.jit !== undefined) machine.core.jit.eager = true;
  const vdso = [...machine.memory.space.vmas].find(({ name }) => name === "[vdso]");
  machine.memory.writeU64(VDSO, BigInt(vdso?.start ?? 0));
  const status = await machine.run();
  const view = new DataView(new Uint8Array(host.stdout.bytes).buffer);
  const words = Array.from({ length: Math.floor(view.byteLength / 8) }, (_, i) => view.getBigUint64(i * 8, true));
  const calls = Object.fromEntries(machine.kernel.syscallCounts);
  for (const number of [SYS.write, SYS.exit_group]) delete calls[number];
  return { words, stdout: host.stdout.bytes, stderr: "", status, calls, maps: mapsText(machine.process) };
}

/** Records the result and the two words of time behind it. */
function recordTime(a: Assembler): void {
  a.record()
    .load("rax", TIME)
    .record()
    .load("rax", TIME + 8)
    .record();
}

const nsOf = (words: readonly bigint[], at: number): bigint => words[at] * SECOND + words[at + 1];

describe.each(["interpreter", "jit"] as const)("the vDSO, in tier %s", (tier) => {
  const ADDRESS_SPACES = ["compact", "linux"] as const;

  it.each(ADDRESS_SPACES)("reads clocks without a system call (address space %s)", async (addressSpace) => {
    const host = new ClockHost();
    const clocks = [
      ...[CLOCK.REALTIME, CLOCK.MONOTONIC, CLOCK.MONOTONIC_RAW, CLOCK.REALTIME_COARSE, CLOCK.MONOTONIC_COARSE],
      ...[CLOCK.BOOTTIME, CLOCK.TAI],
    ];
    const { words, calls } = await run(
      (a) => {
        for (const clock of clocks) recordTime(callVdso(a, "__vdso_clock_gettime", clock, TIME));
        a.put(TIME + 16, 1);
        recordTime(callVdso(a, "__vdso_gettimeofday", TIME, TIME + 16));
        a.load("rax", TIME + 16).record();
        callVdso(a, "__vdso_time", TIME + 24).record();
        a.load("rax", TIME + 24).record();
        callVdso(a, "__vdso_gettimeofday", 0, 0).record();
        callVdso(a, "__vdso_time", 0).record();
      },
      { host, tier, addressSpace },
    );
    const real = host.offset + BigInt(host.now);
    const [seconds, ns] = [real / SECOND, real % SECOND];
    const monotonic = [0n, 5000n, 123n];
    const expected = clocks.flatMap((clock) =>
      clock === CLOCK.TAI || clock === CLOCK.REALTIME || clock === CLOCK.REALTIME_COARSE
        ? [0n, seconds, ns]
        : monotonic,
    );
    expect(words).toEqual([...expected, 0n, seconds, ns / 1000n, 0n, seconds, seconds, 0n, seconds]);
    expect(calls).toEqual({});
  });

  it("leaves other clocks and functions to system calls", async () => {
    const { words, calls } = await run(
      (a) => {
        const ids = [CLOCK.PROCESS_CPUTIME_ID, CLOCK.THREAD_CPUTIME_ID, CLOCK.REALTIME_ALARM, 10, 12, 31, 64, -100];
        for (const clock of ids) callVdso(a, "__vdso_clock_gettime", clock, TIME).record();
        callVdso(a, "__vdso_clock_getres", CLOCK.MONOTONIC, TIME).record();
        callVdso(a, "__vdso_getcpu", TIME, TIME + 4).record();
      },
      { host: new ClockHost(), tier },
    );
    expect(words.map(outcome)).toEqual([0, 0, 0, "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", 0, 0]);
    expect(calls).toEqual({ [SYS.clock_gettime]: 8, 229: 1, 309: 1 });
  });

  it("asks for the wall clock by system call where that goes its own ways", async () => {
    const host = new ClockHost({ loose: true });
    const { words, calls } = await run(
      (a) => {
        recordTime(callVdso(a, "__vdso_clock_gettime", CLOCK.REALTIME, TIME));
        recordTime(callVdso(a, "__vdso_clock_gettime", CLOCK.MONOTONIC, TIME));
        recordTime(callVdso(a, "__vdso_gettimeofday", TIME, 0));
        callVdso(a, "__vdso_time", 0).record();
      },
      { host, tier },
    );
    const real = host.offset + BigInt(host.now);
    const [seconds, ns] = [real / SECOND, real % SECOND];
    expect(words).toEqual([0n, seconds, ns, 0n, 5000n, 123n, 0n, seconds, ns / 1000n, seconds]);
    expect(calls).toEqual({ [SYS.clock_gettime]: 1, [SYS.gettimeofday]: 1, [SYS.time]: 1 });
  });

  it("does not believe an offset that the wall clock does not keep to", async () => {
    const host = new ClockHost();
    host.realtimeOffsetNs = () => 0n;
    const { calls } = await run((a) => callVdso(a, "__vdso_time", 0).record(), { host, tier });
    expect(calls).toEqual({ [SYS.time]: 1 });
  });

  it("runs with the system calls: no clock goes back between the two", async () => {
    const host = new ClockHost({ step: 13 });
    const { words } = await run(
      (a) => {
        for (const clock of [CLOCK.MONOTONIC, CLOCK.REALTIME]) {
          for (let i = 0; i < 20; i++) {
            callVdso(a, "__vdso_clock_gettime", clock, TIME);
            a.load("rax", TIME)
              .record()
              .load("rax", TIME + 8)
              .record();
            a.syscall(SYS.clock_gettime, clock, TIME);
            a.load("rax", TIME)
              .record()
              .load("rax", TIME + 8)
              .record();
          }
        }
      },
      { host, tier },
    );
    for (const from of [0, 80]) {
      const times = Array.from({ length: 40 }, (_, i) => nsOf(words, from + 2 * i));
      for (let i = 1; i < times.length; i++) expect(times[i]).toBeGreaterThan(times[i - 1]);
      expect(times[39] - times[0]).toBeLessThan(1_000_000n);
    }
  });

  it("shows when the host's wall clock is set, forward and back", async () => {
    // Only slices begin and end in this guest: each reading of the clock that many microseconds later.
    const host = new ClockHost({ step: 20_000 });
    const hour = 3600n * SECOND;
    const first = host.offset;
    const started = host.now;
    host.realtimeOffsetNs = () => {
      if (host.now > started + 50_000_000) host.offset = first + hour;
      if (host.now > started + 200_000_000) host.offset = first - hour;
      return host.offset;
    };
    const { words, calls } = await run(
      (a) => {
        /** Reads the clock until its seconds are on the other side of a limit; gives up after ten seconds. */
        const readUntil = (label: string, condition: "g" | "l", limit: bigint): void => {
          a.label(label);
          callVdso(a, "__vdso_clock_gettime", CLOCK.MONOTONIC, TIME).load("rax", TIME);
          a.mov("rcx", 5010).cmp("rax", "rcx").jcc("g", "finish");
          callVdso(a, "__vdso_clock_gettime", CLOCK.REALTIME, TIME).load("rax", TIME).mov("rcx", limit);
          a.cmp("rax", "rcx")
            .jcc(condition === "g" ? "le" : "ge", label)
            .record();
        };
        const seconds = (first + BigInt(started)) / SECOND;
        readUntil("forward", "g", seconds + 3000n);
        readUntil("back", "l", seconds - 3000n);
      },
      { host, tier },
    );
    const seconds = Number((first + BigInt(started)) / SECOND);
    expect(words.map((word) => Math.round((Number(word) - seconds) / 600))).toEqual([6, -6]);
    expect(calls).toEqual({});
  });

  it("faults at a bad pointer, as code of the guest", async () => {
    const { status } = await run((a) => callVdso(a, "__vdso_clock_gettime", CLOCK.MONOTONIC, 8), {
      host: new ClockHost(),
      tier,
    });
    expect(status).toEqual({ kind: "signaled", signal: 11 });
  });

  it("keeps the registers that a callee has to keep", async () => {
    const kept = ["rbx", "rbp", "r12", "r13", "r14", "r15"] as const;
    const { words } = await run(
      (a) => {
        for (const [i, register] of kept.entries()) a.mov(register, 0x1111_2222_3333_0000n + BigInt(i));
        a.record("rsp");
        callVdso(a, "__vdso_clock_gettime", CLOCK.REALTIME, TIME);
        callVdso(a, "__vdso_gettimeofday", TIME, TIME + 16);
        callVdso(a, "__vdso_time", TIME);
        for (const register of kept) a.record(register);
        a.record("rsp");
      },
      { host: new ClockHost(), tier },
    );
    expect(words.slice(1, 7)).toEqual(kept.map((_, i) => 0x1111_2222_3333_0000n + BigInt(i)));
    expect(words[7]).toBe(words[0]);
  });

  it("has its data, which the guest cannot write, right before it in /proc/self/maps", async () => {
    const { maps, status } = await run(
      (a) => a.load("rax", VDSO).bytes(0xc6, 0x80, 0x00, 0xf0, 0xff, 0xff, 0x00), // mov byte [rax-0x1000], 0
      { host: new ClockHost(), tier },
    );
    expect(status).toEqual({ kind: "signaled", signal: 11 });
    const [, end, start] = /-(.+) r--p 0+ 00:00 0 +\[vvar\]\n(.+)-.+ r-xp 0+ 00:00 0 +\[vdso\]\n/.exec(maps) ?? [];
    expect(end).toBeDefined();
    expect(start).toBe(end);
  });

  it("is not written to where the guest has put something else in its place", async () => {
    const host = new ClockHost({ step: 20_000 });
    const first = host.offset;
    const started = host.now;
    host.realtimeOffsetNs = () => (host.now > started + 20_000_000 ? first + SECOND * 3600n : first);
    const { words, status } = await run(
      (a) => {
        // mmap over the data page, fixed and anonymous; then some time slices: rdtsc; dec esi; jnz.
        a.load("rdi", VDSO).mov("rax", -0x1000).add("rdi", "rax").copy("rbx", "rdi");
        a.mov("rsi", 0x1000).mov("rdx", 3).mov("r10", 0x32).mov("r8", -1).mov("r9", 0).mov("rax", 9).bytes(0x0f, 0x05);
        a.mov("rsi", 150_000).label("wait").bytes(0x0f, 0x31, 0xff, 0xce).jcc("ne", "wait");
        a.load("rax", { base: "rbx", at: 16 }).record();
      },
      { host, tier },
    );
    expect(status).toEqual({ kind: "exited", status: 0 });
    expect(words).toEqual([0n]);
  });
});
