import { expect, it } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import { checkCpuLimit } from "./cpu-limit.ts";
import { Limits, RLIM_INFINITY, RLIMIT } from "./limits.ts";

it("RLIMIT_CPU: SIGXCPU each second from the soft limit on, SIGKILL at the hard one", () => {
  const limits = new Limits();
  const sent: string[] = [];
  const names = new Map<number, string>([
    [SIGNAL.SIGXCPU, "XCPU"],
    [SIGNAL.SIGKILL, "KILL"],
  ]);
  const after = (seconds: number): string => {
    sent.length = 0;
    const signals = { send: ({ signal }: { signal: number }) => sent.push(names.get(signal) ?? "?") };
    checkCpuLimit({ limits, signals, finished: false, cpuTime: seconds * 1e9 } as unknown as LinuxProcess);
    return sent.join();
  };
  expect(after(1e6)).toBe("");
  limits.set(RLIMIT.CPU, { soft: 2n, hard: 4n }, false);
  expect([1.9, 2.0, 2.1, 3.0, 3.5, 4.0].map(after)).toEqual(["", "XCPU", "", "XCPU", "", "KILL"]);
  limits.set(RLIMIT.CPU, { soft: 9n, hard: RLIM_INFINITY }, true);
  expect([8, 9, 9.5, 10].map(after)).toEqual(["", "XCPU", "", "XCPU"]);
});
