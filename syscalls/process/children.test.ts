import { describe, expect, it } from "vitest";
import type { HostChild } from "../../host/processes.ts";
import { SIGNAL } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import { Child, Children } from "./children.ts";

const onHost = (pid: number): HostChild => ({ pid, channels: new Map() });

describe("children", () => {
  it("are told apart while one has the number of another from the host", () => {
    const children = new Children({} as LinuxProcess);
    const [first, second] = [50, 51].map((pid) => new Child(pid, SIGNAL.SIGCHLD));
    for (const child of [first, second]) children.add(child);
    // Both are between vfork(2) and execve(2); the host takes the number that goemu has given the other.
    children.started(second, onHost(50));
    expect(children.find(50)).toBe(second);
    children.started(first, onHost(60));
    expect([...children.all]).toEqual([first, second]);
    expect([50, 51, 60].map((pid) => children.find(pid))).toEqual([second, undefined, first]);
    children.reap(second);
    expect(children.has(second)).toBe(false);
    expect([...children.all]).toEqual([first]);
  });
});
