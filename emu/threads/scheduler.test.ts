import { describe, expect, it } from "vitest";
import type { CpuState } from "../cpu/state.ts";
import type { Stop } from "../interpreter/interpreter.ts";
import { type EventLoop, type GuestThread, type Kernel, type Processor, QUANTUM, Scheduler } from "./scheduler.ts";

/** What a thread does next: instructions, then something of the kernel's. */
interface Step {
  readonly instructions: number;
  readonly after?: (thread: FakeThread) => void;
  readonly pause?: boolean;
}

class FakeThread implements GuestThread {
  readonly tid: number;
  readonly cpu: CpuState;
  readonly processor: Processor;
  state: GuestThread["state"] = "runnable";
  cpuTime = 0;
  instructions = 0;
  readonly program: Iterator<Step>;
  step: Step;
  left: number;

  constructor(tid: number, cpu: CpuState, processor: Processor, program: Iterator<Step>) {
    this.tid = tid;
    this.cpu = cpu;
    this.processor = processor;
    this.program = program;
    this.step = program.next().value;
    this.left = this.step.instructions;
  }
}

/** Threads that run made-up programs; an instruction takes a nanosecond, all else no time. */
class FakeMachine implements Processor, EventLoop, Kernel<FakeThread> {
  readonly code = { stops: new Set<number>() };
  readonly #threads = new Map<number, FakeThread>();
  readonly scheduler: Scheduler<FakeThread>;
  readonly #end: number;
  time = 0;
  systemCalls = 0;
  /** Who ran, in order, and from when to when. */
  readonly turns: { readonly tid: number; readonly from: number; readonly to: number }[] = [];

  /** @param end when the machine stops, in ns */
  constructor(end: number, seed?: number) {
    this.#end = end;
    this.scheduler = new Scheduler(this, this, seed === undefined ? {} : { seed });
  }

  /** @param processor runs it; by default the machine itself */
  start(program: Iterator<Step>, processor: Processor = this): FakeThread {
    const tid = this.#threads.size + 1;
    // Of the CPU state the scheduler sees these alone.
    const cpu = { address: tid, fuel: 0, rip: 0 } as unknown as CpuState;
    const thread = new FakeThread(tid, cpu, processor, program);
    this.#threads.set(thread.cpu.address, thread);
    this.scheduler.enqueue(thread);
    return thread;
  }

  /** Another CPU state of a thread. */
  addState(thread: FakeThread): CpuState {
    const cpu = { ...thread.cpu, address: this.#threads.size + 1 } as unknown as CpuState;
    this.#threads.set(cpu.address, thread);
    return cpu;
  }

  sleep(thread: FakeThread, ns: number, woken?: () => void): void {
    thread.state = "blocked";
    this.scheduler.timers.add(this.time + ns, () => {
      woken?.();
      this.scheduler.enqueue(thread);
    });
  }

  /** The longest time from one turn of a thread to its next, or to the end. */
  longestGap(tid: number): number {
    let last = 0;
    let longest = 0;
    for (const turn of this.turns) {
      if (turn.tid !== tid) continue;
      longest = Math.max(longest, turn.from - last);
      last = turn.to;
    }
    return Math.max(longest, this.time - last);
  }

  run(cpu: CpuState): Stop {
    const thread = this.#threads.get(cpu.address) as FakeThread;
    // A block of 10 instructions is the smallest unit.
    const ran = Math.min(thread.left, Math.ceil((cpu.fuel + 1) / 10) * 10);
    thread.left -= ran;
    cpu.fuel -= ran;
    this.time += ran;
    if (thread.left > 0) return { kind: "fuel" };
    return { kind: thread.step.pause ? "yield" : "syscall" };
  }

  #next(thread: FakeThread): void {
    thread.step = thread.program.next().value;
    thread.left = thread.step.instructions;
  }

  beginSlice(): void {}

  prepare(thread: FakeThread): void {
    if (thread.left === 0 && thread.step.pause) this.#next(thread);
  }

  stopped(thread: FakeThread): void {
    this.systemCalls++;
    thread.step.after?.(thread);
    this.#next(thread);
  }

  onSwitch(thread: FakeThread | undefined): void {
    if (thread !== undefined) this.turns.push({ tid: thread.tid, from: this.time, to: this.time });
    else this.turns[this.turns.length - 1] = { ...this.turns[this.turns.length - 1], to: this.time };
  }

  charge(): void {}

  get finished(): boolean {
    return this.time >= this.#end;
  }

  now(): number {
    return this.time;
  }

  async yield(): Promise<void> {}

  async wait(ns: number): Promise<void> {
    this.time += Math.max(ns, 0);
  }

  wake(): void {}
}

function* always(step: Step): Generator<Step> {
  for (;;) yield step;
}

const HOG: Step = { instructions: Number.MAX_SAFE_INTEGER };
const SEEDS = [1, 2, 3];
/** Longest turn. */
const TURN = 1.5 * QUANTUM + 10;

describe("the scheduler", () => {
  it.each(SEEDS)("gives each of many busy threads its turn (seed %i)", async (seed) => {
    const machine = new FakeMachine(300 * QUANTUM, seed);
    const hogs = Array.from({ length: 10 }, () => machine.start(always(HOG)));
    await machine.scheduler.run();
    for (const { tid, instructions } of hogs) {
      // Each goes before each other one once between two turns of it, one of them twice.
      expect(machine.longestGap(tid)).toBeLessThanOrEqual(11 * TURN);
      expect(instructions).toBeGreaterThan(15 * QUANTUM);
      expect(instructions).toBeLessThan(50 * QUANTUM);
    }
  });

  it.each(SEEDS)("lets a thread that was woken run before those that are busy (seed %i)", async (seed) => {
    const machine = new FakeMachine(300 * QUANTUM, seed);
    for (let i = 0; i < 10; i++) machine.start(always(HOG));
    const delays: number[] = [];
    let due = 0;
    const sleep = (thread: FakeThread): void => {
      if (due !== 0) delays.push(machine.time - due);
      due = machine.time + 20_000;
      machine.sleep(thread, 20_000);
    };
    machine.start(always({ instructions: 100, after: sleep }));
    await machine.scheduler.run();
    expect(delays.length).toBeGreaterThan(200);
    // The turn under way, and that of one thread whose time it is.
    expect(Math.max(...delays)).toBeLessThanOrEqual(2 * TURN + 100);
    expect(delays.reduce((sum, delay) => sum + delay) / delays.length).toBeLessThan(QUANTUM);
  });

  it.each(SEEDS)("keeps threads that wake each other from starving busy ones (seed %i)", async (seed) => {
    const machine = new FakeMachine(300 * QUANTUM, seed);
    const hogs = [machine.start(always(HOG)), machine.start(always(HOG))];
    // A ring of threads, each of which wakes the next and waits.
    const ring: FakeThread[] = [];
    const pass = (thread: FakeThread): void => {
      machine.scheduler.enqueue(ring[(ring.indexOf(thread) + 1) % ring.length]);
      thread.state = "blocked";
    };
    for (let i = 0; i < 8; i++) ring.push(machine.start(always({ instructions: 300, after: pass })));
    for (const thread of ring.slice(1)) thread.state = "blocked";
    await machine.scheduler.run();
    // Two quanta of the others, and the turn in which that was reached, before each turn of a busy one.
    for (const { tid } of hogs) expect(machine.longestGap(tid)).toBeLessThanOrEqual(3 * (2 * QUANTUM + 2 * TURN));
    for (const { instructions } of hogs) expect(instructions).toBeGreaterThan(50 * QUANTUM);
    for (const { instructions } of ring) expect(instructions).toBeGreaterThan(5 * QUANTUM);
  });

  it.each(SEEDS)("keeps new threads from starving old ones (seed %i)", async (seed) => {
    const machine = new FakeMachine(100 * QUANTUM, seed);
    const hog = machine.start(always(HOG));
    const exit = (thread: FakeThread): void => {
      thread.state = "exited";
    };
    function* spawner(): Generator<Step> {
      for (let i = 0; ; i++) {
        if (i < 50)
          yield { instructions: 50, after: () => machine.start(always({ instructions: 3 * QUANTUM, after: exit })) };
        else yield HOG;
      }
    }
    machine.start(spawner());
    await machine.scheduler.run();
    expect(machine.longestGap(hog.tid)).toBeLessThanOrEqual(60 * (2 * QUANTUM + 2 * TURN));
    expect(hog.instructions).toBeGreaterThan(0);
  });

  it("sees timers while others make system calls all the time", async () => {
    const machine = new FakeMachine(20 * QUANTUM, 1);
    let late = 0;
    let fired = 0;
    let before = 0;
    const sleep = (thread: FakeThread): void => {
      before = machine.systemCalls;
      const due = machine.time + 1000;
      machine.sleep(thread, 1000, () => {
        fired++;
        late = Math.max(late, machine.systemCalls - before);
        expect(machine.time).toBeGreaterThanOrEqual(due);
      });
    };
    machine.start(always({ instructions: 10 }));
    machine.start(always({ instructions: 10, after: sleep }));
    await machine.scheduler.run();
    expect(fired).toBeGreaterThan(100);
    // A system call costs part of a turn, even if only few instructions stand between one and the next.
    expect(late).toBeLessThan(500);
  });

  it.each(SEEDS)("lets those that are waited for run, where a thread yields (seed %i)", async (seed) => {
    for (const pause of [true, false]) {
      const machine = new FakeMachine(200 * QUANTUM, seed);
      let passed = 0;
      const holder = machine.start(always({ instructions: 5000, after: () => passed++ }));
      for (let i = 0; i < 4; i++) {
        machine.start(always({ instructions: 50, pause, after: () => machine.scheduler.yieldCurrent() }));
      }
      await machine.scheduler.run();
      expect(holder.instructions).toBeGreaterThan(190 * QUANTUM);
      expect(passed).toBeGreaterThan(0);
    }
  });

  /**
   * What Go's stop-the-world does in a loop: it wakes a thread, says a little later that all must stand still, is at
   * work for a while, and lets them go on. The thread that was woken goes on if it comes to run in between.
   */
  it.each(SEEDS)("gives a thread its chance against one that stops it again and again (seed %i)", async (seed) => {
    const machine = new FakeMachine(1500 * QUANTUM, seed);
    let stopped = false;
    let progress = 0;
    const park = (thread: FakeThread): void => {
      if (stopped) thread.state = "blocked";
      else if (machine.time > 100 * QUANTUM) progress++;
    };
    const victim = machine.start(always({ instructions: 200, after: park }));
    function* stopTheWorld(): Generator<Step> {
      for (;;) {
        yield { instructions: 1000, after: () => (stopped = true) };
        yield { instructions: 30_000, after: (thread) => machine.sleep(thread, 100_000) };
        yield { instructions: 500, after: () => (stopped = false) };
        yield { instructions: 300, after: () => victim.state === "blocked" && machine.scheduler.enqueue(victim) };
      }
    }
    machine.start(stopTheWorld());
    await machine.scheduler.run();
    expect(progress).toBeGreaterThan(20);
  });

  it("takes turns in the same order with the same seed, in another with another", async () => {
    const order = async (seed: number | undefined): Promise<string> => {
      const machine = new FakeMachine(100 * QUANTUM, seed);
      for (let i = 0; i < 4; i++) machine.start(always(HOG));
      for (let i = 0; i < 4; i++) {
        machine.start(always({ instructions: 1000, after: (thread) => machine.sleep(thread, 50_000 * (i + 1)) }));
      }
      await machine.scheduler.run();
      return JSON.stringify(machine.turns);
    };
    const first = await order(7);
    expect(await order(7)).toBe(first);
    expect(await order(8)).not.toBe(first);
    expect(await order(undefined)).toBe(await order(undefined));
  });

  it.each(SEEDS)("is as fair to the threads of several cores, whose stops are their own (seed %i)", async (seed) => {
    const machine = new FakeMachine(300 * QUANTUM, seed);
    const ranOn = new Map<string, Set<number>>();
    const core = (name: string, stops: readonly number[] = []): Processor => ({
      code: { stops: new Set(stops) },
      run: (cpu, given) => {
        expect([...(given ?? [])]).toEqual(stops);
        ranOn.set(name, (ranOn.get(name) ?? new Set()).add(cpu.address));
        return machine.run(cpu);
      },
    });
    const [first, second] = [core("first"), core("second", [0x1234])];
    const hogs = Array.from({ length: 10 }, (_, i) => machine.start(always(HOG), i < 5 ? first : second));
    const delays: number[] = [];
    let due = 0;
    const sleep = (thread: FakeThread): void => {
      if (due !== 0) delays.push(machine.time - due);
      due = machine.time + 20_000;
      machine.sleep(thread, 20_000);
    };
    const sleeper = machine.start(always({ instructions: 100, after: sleep }), second);
    await machine.scheduler.run();
    for (const { tid } of hogs) expect(machine.longestGap(tid)).toBeLessThanOrEqual(15 * TURN);
    expect(delays.length).toBeGreaterThan(200);
    expect(Math.max(...delays)).toBeLessThanOrEqual(2 * TURN + 100);
    expect(ranOn.get("first")).toEqual(new Set(hogs.slice(0, 5).map(({ tid }) => tid)));
    expect(ranOn.get("second")).toEqual(new Set([...hogs.slice(5), sleeper].map(({ tid }) => tid)));
  });

  it("runs a thread on with the core and the state that execve has given it, within its turn", async () => {
    const machine = new FakeMachine(10 * QUANTUM, 1);
    const used: string[] = [];
    const core = (name: string): Processor => ({
      code: machine.code,
      run: (cpu) => {
        used.push(`${name} ${cpu.address}`);
        return machine.run(cpu);
      },
    });
    const thread = machine.start(always({ instructions: 100, after: () => Object.assign(thread, next) }), core("old"));
    const next = { processor: core("new"), cpu: machine.addState(thread) };
    await machine.scheduler.run();
    expect(used[0]).toBe("old 1");
    expect(new Set(used.slice(1))).toEqual(new Set(["new 2"]));
    expect(machine.turns.length).toBeLessThan(used.length / 10);
  });
});
