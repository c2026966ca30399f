import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs `goemu debug` with commands from a pipe. */
function session(
  program: string,
  commands: readonly string[],
  args: readonly string[] = [],
): { output: string; status: number | null; stderr: string } {
  const result = spawnSync(
    process.execPath,
    ["cli/goemu.ts", "debug", "-E", "GOMAXPROCS=1", `fixtures/bin/${program}`, ...args],
    {
      cwd: root,
      input: `${commands.join("\n")}\n`,
      encoding: "utf8",
      timeout: 60_000,
    },
  );
  return { output: result.stdout, status: result.status, stderr: result.stderr };
}

// Go's sysmon preempts by the clock: on a busy host main may be preempted before it waits, hence the retries.
describe("goemu debug", { timeout: 90_000, retry: 2 }, () => {
  test("breakpoints, lines, stacks and goroutines of work", () => {
    const { output, status, stderr } = session("work", [
      "break main.work",
      "break main.go:11",
      "info",
      "continue",
      "regs",
      "next",
      "bt",
      "delete 1",
      "continue",
      "goroutines",
      "goroutine 1",
      "sched",
      "threads",
      "delete",
      "finish",
      "continue",
    ]);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(output).toMatch(
      /^breakpoint 1 at 0x[0-9a-f]+: main\.work at main\.go:9\nbreakpoint 2 at 0x[0-9a-f]+: main\.work\+0x[0-9a-f]+ at main\.go:11\n1 /,
    );
    expect(output).toMatch(
      /breakpoint 1: thread \d+ \(M\d+ P0 goroutine \d+ in main\.work\) at 0x[0-9a-f]+ main\.work at main\.go:9\n=>\*/,
    );
    expect(output).toMatch(/\nrax {6}0x000000000000000[12] /);
    expect(output).toMatch(/\nthread .* main\.work\+0x[0-9a-f]+ at main\.go:10\n/);
    expect(output).toMatch(
      /#0 .* main\.work at .*main\.go:10\n#1 .* main\.main\.gowrap\d at .*\n#2 .* runtime\.goexit at/,
    );
    expect(output).toMatch(/breakpoint 2: .* main\.go:11\n/);
    expect(output).toMatch(/\n {5}1 {2}waiting \(sync\.WaitGroup\.Wait\), runtime\.main/);
    expect(output).toMatch(/sync\.\(\*WaitGroup\)\.Wait at .*\n#\d+ +0x[0-9a-f]+ main\.main at /);
    expect(output).toMatch(/\nP0 running, M\d+ runs g\d+/);
    expect(output).toMatch(
      /hello, world in goroutine \d\nthread \d+ \(M\d+ P0 goroutine \d+ in main\.main\.gowrap\d\)/,
    );
    expect(output).toMatch(/the program exited with status 0\n$/);
  });

  test("step goes into a call that next goes over", () => {
    const { output } = session("work", ["break main.go:11", "c", "delete", "step", "bt 2", "finish", "next", "quit"]);
    expect(output).toMatch(/thread .* at 0x[0-9a-f]+ fmt\.Printf at print\.go:\d+\n/);
    expect(output).toMatch(/#0 .* fmt\.Printf at .*\n#1 .* main\.work at /);
    // It returns into the line of the call, and goes on from there.
    expect(output).toMatch(/main\.work\+0x[0-9a-f]+ at main\.go:12\n/);
  });

  test("instructions: steps, listings with jumps, memory, registers", () => {
    const { output } = session("work", [
      "disas",
      "stepi",
      "stepi 3",
      "x/2i $rip",
      "x/4xw $rsp",
      "print $rip",
      "set $rbx 0x1234",
      "print $rbx",
      "disas main.main",
      "x/s runtime.buildVersion.str",
      "x 0x10",
    ]);
    expect(output).toMatch(/^=> {2}0x[0-9a-f]+ +jmp +0x[0-9a-f]+ <_rt0_amd64>/);
    expect(output).toMatch(/at 0x[0-9a-f]+ _rt0_amd64 at /);
    expect(output).toMatch(/\n0x[0-9a-f]+: {2}0x00000001 0x00000000/);
    expect(output).toContain("\n0x1234 4660\n");
    expect(output).toMatch(/┌─.*\n.*│|└─*▶/);
    expect(output).toContain("nothing is mapped at 0x10");
  });

  test("watchpoints, system calls and strace", () => {
    const { output } = session("work", [
      "catch write",
      "c",
      "c",
      "catch off",
      "strace on",
      "watch $rsp 16",
      "info",
      "c",
      "delete",
      "c",
    ]);
    expect(output).toMatch(/before write: thread /);
    expect(output).toMatch(/after write: thread /);
    expect(output).toMatch(/write of 0x[0-9a-f]+: thread /);
    expect(output).toMatch(/write\(1, "hello, world in goroutine main\\n"/);
    expect(output).toMatch(/the program exited with status 0/);
  });

  test("a fault stops before the guest sees it, and is delivered when it goes on", () => {
    const { output, status, stderr } = session("fatal", ["c", "c"], ["nil-uncaught"]);
    expect(output).toMatch(/SIGSEGV: thread \d+/);
    expect(output).toMatch(/the program exited with status 2/);
    expect(stderr).toContain("nil pointer dereference");
    expect(status).toBe(2);
  });

  test("mistakes are one line each, and the program is unharmed", () => {
    const { output, status } = session("work", [
      "frobnicate",
      "break",
      "break main.wrok",
      "break main.go:9999",
      "break *0",
      "delete 7",
      "watch $nothing",
      "watch 0x500000 0",
      "goroutine 12345",
      "thread 1",
      "x/zz",
      "catch nothing",
      "set $rax",
      "strace maybe",
      "stepi x",
      "c",
    ]);
    const lines = output.split("\n");
    expect(lines.slice(0, 15)).toEqual([
      'no command "frobnicate" ("help" lists them)',
      "break needs a place: a function, FILE:LINE or *ADDRESS",
      "no function main.wrok (did you mean main.work?)",
      "no code of line main.go:9999",
      "no code is mapped at 0x0",
      "no breakpoint 7",
      "no register nothing",
      "a watchpoint has from 1 to 65536 bytes",
      'no goroutine 12345 ("goroutines" lists them)',
      'no thread 1 ("threads" lists them)',
      '"/zz" is no format (write /8xg, /20i, /s)',
      "no system call nothing",
      "set needs $REGISTER and a number",
      "strace needs on or off",
      '"x" is no number of instructions',
    ]);
    expect(output).toMatch(/the program exited with status 0/);
    expect(status).toBe(0);
  });

  test("a stripped program has its functions all the same", () => {
    const { output } = session("work-stripped", ["break main.work", "c", "bt", "quit"]);
    expect(output).toMatch(/breakpoint 1: thread .* main\.work at main\.go:\d+/);
    expect(output).toMatch(/#1 .* runtime\.goexit|#1 .* main\.main/);
  });
});
