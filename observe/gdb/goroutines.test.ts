import { afterEach, describe, expect, test } from "vitest";
import { DebuggedGuest, gdb, hasGdb } from "./testing.ts";

const guests: DebuggedGuest[] = [];
afterEach(() => {
  for (const guest of guests.splice(0)) guest.kill();
});

async function start(program: string): Promise<DebuggedGuest> {
  const guest = await DebuggedGuest.start(program, [], ["--goroutines-as-threads", "-E", "GOMAXPROCS=1"]);
  guests.push(guest);
  return guest;
}

const WORK = "fixtures/bin/work";
/** Chooses the thread whose line in `info threads` holds a text. */
const choose = (text: string): string[] => [
  "python",
  `[t.switch() for t in gdb.selected_inferior().threads() if ${JSON.stringify(text)} in (t.details or "")][0]`,
  "end",
];
const interruptIn = (seconds: number): string[] => [
  "python import threading, os, signal",
  `python threading.Timer(${seconds}, lambda: os.kill(os.getpid(), signal.SIGINT)).start()`,
];

// Go's sysmon preempts by the clock: on a busy host main may be preempted before it waits, hence the retries.
describe.skipIf(!hasGdb)(
  "goroutines as threads (skipped where gdb is not installed)",
  { timeout: 120_000, retry: 2 },
  () => {
    test("every goroutine is a thread, the parked ones with the registers of their gobuf", async () => {
      const guest = await start(WORK);
      const output = await gdb(guest, WORK, [
        "break main.work",
        "continue",
        "info threads",
        ...choose("waiting (sync.WaitGroup.Wait)"),
        "bt",
        "p $rax",
        "monitor sched",
        "monitor goroutines",
        "monitor nonsense",
        "delete",
        "continue",
      ]);
      expect(output).toMatch(
        /\* \d+ +Thread \d+\.\d+ "goroutine \d+" \(running, M\d+ P\d goroutine \d+ in main\.work\) +main\.work/,
      );
      expect(output).toMatch(/Thread \d+\.1 "goroutine 1" \(waiting \(sync\.WaitGroup\.Wait\), runtime\.main, /);
      expect(output).toMatch(
        /Thread \d+\.2 "goroutine 2" \(waiting \(force gc \(idle\)\), runtime\.forcegchelper, made by runtime\.init/,
      );
      expect(output).toMatch(/Thread \d+\.10000\d+ "work" \(M\d+ in /);
      expect(output).toMatch(/sync\.\(\*WaitGroup\)\.Wait .*\n#\d+ .* in main\.main \(\)/);
      expect(output).toContain("$1 = <unavailable>");
      expect(output).toMatch(/\nP0 .*\nglobal queue /);
      expect(output).toMatch(/\n {5}1 {2}waiting \(sync\.WaitGroup\.Wait\), runtime\.main/);
      expect(output).toContain('no command "nonsense"; there are:');
      expect(output).toMatch(/exited normally/);
      expect(guest.stdout).toMatch(/goroutine main\n$/);
    });

    test("a goroutine that waits for its turn is stepped where it goes on", async () => {
      const guest = await start(WORK);
      const output = await gdb(guest, WORK, [
        "break main.work",
        "continue",
        "delete",
        ...choose("runnable, main.work"),
        "info thread",
        "p $pc",
        "stepi",
        "p $pc",
        "stepi",
        "p $pc",
        "continue",
      ]);
      const places = [...output.matchAll(/\$\d = \(void \(\*\)\(\)\) (0x[0-9a-f]+) <main\.main\.gowrap\d/g)].map(
        ([, pc]) => pc,
      );
      expect(places.length).toBe(3);
      expect(Number(places[1])).toBeGreaterThan(Number(places[0]));
      expect(Number(places[2])).toBeGreaterThan(Number(places[1]));
      expect(output).toMatch(/exited normally/);
    });

    test("with scheduler-locking one goroutine runs alone, and its end is told", async () => {
      const guest = await start(WORK);
      const output = await gdb(guest, WORK, [
        "break main.work",
        "continue",
        "delete",
        "set scheduler-locking on",
        "continue",
        "info threads",
        "set scheduler-locking off",
        ...choose("runnable, main.work"),
        "continue",
      ]);
      expect(output).toContain("No unwaited-for children left.");
      const after = output.slice(output.indexOf("No unwaited-for"));
      expect(after).toMatch(/Thread \d+\.1 "goroutine 1" \(waiting \(sync\.WaitGroup\.Wait\)/);
      expect(after).toMatch(/\(runnable, main\.work, /);
      expect(after).toMatch(/exited normally/);
      expect(guest.stdout).toMatch(/goroutine main\n$/);
    });

    test("frozen goroutines stand still while the others run, and go on when they are free", async () => {
      const guest = await start(WORK);
      const frozen = await gdb(guest, WORK, [
        "break main.work",
        "continue",
        "delete",
        "python ids = [t.ptid[1] for t in gdb.selected_inferior().threads() if 'main.work' in (t.details or '')]",
        "python [gdb.execute('monitor freeze %d' % i) for i in ids]",
        "monitor freeze 999",
        ...interruptIn(2),
        "continue",
        "info threads",
        "shell true",
        "monitor goroutines",
        "detach",
      ]);
      expect(frozen.match(/goroutine \d+ is frozen/g)?.length).toBe(2);
      expect(frozen).toContain("no goroutine 999");
      expect(frozen).toMatch(/received signal SIGINT/);
      const [before] =
        frozen.slice(frozen.lastIndexOf("SIGINT")).match(/Thread \d+\.1 .*waiting \(sync\.WaitGroup\.Wait\)/) ?? [];
      expect(before).toBeDefined();
      await guest.status();
      expect(guest.stdout).toMatch(
        /^hello, world in goroutine \d\nhello, world in goroutine \d\nhello, world in goroutine main\n$/,
      );
    });
  },
);
