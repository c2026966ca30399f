import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { DebuggedGuest, gdb, hasGdb, inRepository, RawClient } from "./testing.ts";

const guests: DebuggedGuest[] = [];
afterEach(() => {
  for (const guest of guests.splice(0)) guest.kill();
});

async function start(...args: Parameters<typeof DebuggedGuest.start>): Promise<DebuggedGuest> {
  const guest = await DebuggedGuest.start(...args);
  guests.push(guest);
  return guest;
}

const WORK = "fixtures/bin/work";
/** With one P, main waits by the time that a goroutine runs. */
const ONE_P = ["-E", "GOMAXPROCS=1"];
const HELLO = /hello, world in goroutine \d\nhello, world in goroutine \d\nhello, world in goroutine main\n/;
/** The script of a Go release for gdb; these are where distributions and Go's own installer put it. */
const scripts = (release: string): string | undefined =>
  [`/usr/share/go-${release}/src/runtime/runtime-gdb.py`, `/usr/lib/go-${release}/src/runtime/runtime-gdb.py`].find(
    existsSync,
  );
const newestScript = "/usr/local/go/src/runtime/runtime-gdb.py";
const oldGo = "/usr/lib/go-1.19/bin/go";

// Go's sysmon preempts by the clock: on a busy host main may be preempted before it waits, hence the retries.
describe.skipIf(!hasGdb)("gdb (skipped where gdb is not installed)", { timeout: 120_000, retry: 2 }, () => {
  test("breaks in work, prints its arguments, steps by line and sees the end", async () => {
    const guest = await start(WORK);
    const output = await gdb(guest, WORK, [
      "info file",
      "break main.work",
      "continue",
      "info args",
      "bt",
      "x/2i $pc",
      "disassemble main.work,+8",
      "info threads",
      "p $_siginfo.si_signo",
      "next",
      "info registers rip eflags fs_base",
      "p $xmm15.v2_int64",
      "delete",
      "continue",
    ]);
    expect(output).toContain("Entry point: 0x48");
    expect(output).toMatch(/hit Breakpoint 1, main\.work \(id=\d, wg=0x[0-9a-f]+\)/);
    expect(output).toMatch(/\nid = [12]\n/);
    expect(output).toMatch(/#1 .* main\.main\.gowrap\d \(\).*main\.go:1[78]\n#2 .* runtime\.goexit/);
    expect(output).toMatch(/=> 0x[0-9a-f]+ <main\.work\+\d+>:/);
    expect(output).toMatch(/Dump of assembler code/);
    expect(output).toMatch(/Thread \d+\.\d+ "work" \(/);
    expect(output).toContain("$1 = 5");
    expect(output).toMatch(/fs_base +0x[0-9a-f]+/);
    expect(output).toContain("$2 = {0, 0}");
    expect(output).toMatch(/exited normally/);
    expect(await guest.status()).toBe(0);
    expect(guest.stdout).toMatch(HELLO);
  });

  test("loads the program from the guest, and knows its mappings and auxiliary vector", async () => {
    const guest = await start("fixtures/bin/work-static-pie");
    const output = await gdb(guest, "", ["info proc mappings", "info auxv", "info proc exe", "info file"]);
    expect(output).toContain("from remote target...");
    expect(output).toMatch(/r-xp +\S*fixtures\/bin\/work-static-pie/);
    const entry = /AT_ENTRY +Entry point of program +(0x1\w+)/.exec(output)?.[1];
    // gdb has moved the symbols to where the image lies.
    expect(output).toContain(`Entry point: ${entry}\n`);
    expect(output).toMatch(/exe = '\/.*work-static-pie'/);
  });

  test.skipIf(!existsSync(newestScript))(
    "Go's own script lists goroutines and shows their stacks (newest release)",
    async () => {
      const guest = await start(WORK, [], ONE_P);
      const output = await gdb(guest, WORK, [
        `source ${newestScript}`,
        "break main.work",
        "continue",
        "info goroutines",
        "goroutine 1 bt",
        "goroutine 2 bt",
        "bt 1",
      ]);
      expect(output).toMatch(/\n {2}1 waiting {2}runtime\.gopark\n/);
      expect(output).toMatch(/\n\* \d+ running {2}main\.main\.gowrap\d/);
      expect(output).toMatch(
        /#\d+ +0x[0-9a-f]+ in sync\.\(\*WaitGroup\)\.Wait .*\n#\d+ +0x[0-9a-f]+ in main\.main \(\)/,
      );
      expect(output).toMatch(/in runtime\.forcegchelper \(\)/);
      // Registers are back where they were.
      expect(output.slice(output.lastIndexOf("#0"))).toMatch(/#0 +main\.work \(.*main\.go:9/);
    },
  );

  test.skipIf(!existsSync(oldGo) || scripts("1.19") === undefined)("Go's own script on Go 1.19", async () => {
    const program = join(mkdtempSync(join(tmpdir(), "goemu-go-")), "work");
    const built = spawnSync(
      oldGo,
      ["build", "-gcflags=all=-N -l", "-o", program, inRepository("fixtures/src/work/main.go")],
      {
        env: { ...process.env, CGO_ENABLED: "0", GOOS: "linux", GOARCH: "amd64", GOFLAGS: "", GOTOOLCHAIN: "local" },
        encoding: "utf8",
      },
    );
    expect(built.stderr).toBe("");
    const path = relative(inRepository("."), program);
    const guest = await start(path, [], ONE_P);
    const output = await gdb(guest, path, [
      `source ${scripts("1.19")}`,
      "break main.work",
      "continue",
      "info args",
      "info goroutines",
      "goroutine 1 bt",
    ]);
    expect(output).toMatch(/hit Breakpoint 1, main\.work \(id=\d, wg=0x[0-9a-f]+\)/);
    expect(output).toMatch(/\n\* 1 +waiting +runtime\.gopark|\n +1 waiting +runtime\.gopark/);
    expect(output).toMatch(/in sync\.\(\*WaitGroup\)\.Wait .*\n.* in main\.main \(\)/);
  });

  test("watchpoints stop behind the instruction that wrote, read or did either", async () => {
    const guest = await start(WORK);
    const output = await gdb(guest, WORK, [
      "break main.main",
      "continue",
      "delete",
      "watch 'runtime.allglen'",
      "continue",
      "x/i $pc",
      "delete",
      "rwatch 'runtime.sched'.lock.key",
      "continue",
      "delete",
      "awatch 'runtime.sched'.lock",
      "continue",
      "delete",
      "continue",
    ]);
    expect(output).toMatch(
      /Hardware watchpoint 2: 'runtime\.allglen'\n\nOld value = \d+\nNew value = \d+\nruntime\.allgadd/,
    );
    expect(output).toMatch(/hit Hardware read watchpoint 3: 'runtime\.sched'\.lock\.key\n\nValue = \d+/);
    expect(output).toMatch(/hit Hardware access \(read\/write\) watchpoint 4: 'runtime\.sched'\.lock/);
    expect(output).toMatch(/exited normally/);
    expect(guest.stdout).toMatch(HELLO);
  });

  test("catches system calls at entry and return", async () => {
    const guest = await start(WORK);
    const output = await gdb(guest, WORK, [
      "catch syscall write",
      "continue",
      "p $orig_rax",
      "p $rax",
      "continue",
      "p $rax",
      "delete",
      "continue",
    ]);
    expect(output).toMatch(/Catchpoint 1 \(call to syscall write\)/);
    expect(output).toMatch(/\$1 = 1\n\$2 = -38\n/);
    expect(output).toMatch(/Catchpoint 1 \(returned from syscall write\)/);
    expect(output).toMatch(/\$3 = 2[78]\n/);
    expect(guest.stdout).toMatch(HELLO);
  });

  test("signals stop; they are passed on or dropped, and kill", async () => {
    const guest = await start("fixtures/bin/fatal", ["nil-uncaught"]);
    const output = await gdb(guest, "fixtures/bin/fatal", [
      "continue",
      "p $_siginfo._sifields._sigfault.si_addr",
      "handle SIGABRT nostop noprint pass",
      "continue",
    ]);
    expect(output).toMatch(/received signal SIGSEGV, Segmentation fault/);
    expect(output).toMatch(/\$1 = \(void \*\) 0x[0-9a-f]+/);
    expect(output).toMatch(/exited with code 02/);
    expect(await guest.status()).toBe(2);
    expect(guest.stderr).toContain("panic: runtime error: invalid memory address or nil pointer dereference");
  });

  test("^C stops a running guest; detach lets it go on; another gdb attaches later; kill ends it", async () => {
    const guest = await start("fixtures/bin/bench-fib", ["45"], []);
    const first = await gdb(guest, "fixtures/bin/bench-fib", [
      "shell sleep 1",
      "python import threading, os, signal",
      "python threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()",
      "continue",
      "info threads",
      "stepi",
      "detach",
    ]);
    expect(first).toMatch(/received signal SIGINT, Interrupt/);
    expect(first).toMatch(/"bench-fib" \(M\d+ P\d+ goroutine 1 in main\.fib\)/);
    expect(first).toMatch(/\(process \d+\) detached/);
    const second = await gdb(guest, "fixtures/bin/bench-fib", ["info threads", "kill"]);
    expect(second).toMatch(/"bench-fib" \(M\d+ P\d+ goroutine 1 in main\.fib\)/);
    expect(await guest.status()).toBe(137);
  });
});

test("the program waits for a client, and with --no-wait starts at once", { timeout: 60_000 }, async () => {
  const waiting = await Promise.all([start(WORK), start(WORK, [], ["--wait"])]);
  const running = await start(WORK, [], ["--no-wait"]);
  expect(await running.status()).toBe(0);
  expect(running.stdout).toMatch(HELLO);
  // A client that comes when the other program has long ended finds these two as they were.
  for (const guest of waiting) {
    expect(guest.stdout).toBe("");
    const client = await RawClient.connect(guest.port);
    expect(await client.ask("D")).toBe("OK");
    expect(await guest.status()).toBe(0);
    expect(guest.stdout).toMatch(HELLO);
    client.close();
  }
});

test("a port in use is one line and status 125", { timeout: 60_000 }, async () => {
  const guest = await start(WORK);
  const second = spawnSync(
    process.execPath,
    [inRepository("cli/goemu.ts"), "gdb", "--listen", String(guest.port), inRepository(WORK)],
    {
      encoding: "utf8",
    },
  );
  expect(second.stderr).toBe(`goemu: port ${guest.port} is in use (choose another with --listen)\n`);
  expect(second.status).toBe(125);
  expect(second.stdout).toBe("");
});
