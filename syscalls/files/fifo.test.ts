import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT } from "../abi/poll.ts";
import { SIGNAL } from "../abi/signals.ts";
import { S_IFIFO } from "../abi/stat.ts";
import { FakeProcess } from "./fake-process.ts";

function hasMkfifo(): boolean {
  try {
    execFileSync("/bin/sh", ["-c", "command -v mkfifo"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

let p: FakeProcess;
let folder: string;
let path: string;
let buffer: number;
beforeEach(() => {
  p = new FakeProcess(new NodeHost());
  folder = mkdtempSync(join(tmpdir(), "goemu-fifo-"));
  path = `${folder}/f\xff o`;
  buffer = p.room(0x2000);
});
afterEach(() => {
  p.files.close();
  p.dispose();
  rmSync(folder, { recursive: true });
});

const make = (name: string, mode: number): number => p.call("mknodat", abi.AT_FDCWD, name, S_IFIFO | mode, 0);
const open = (flags: number): number => p.call("openat", abi.AT_FDCWD, path, flags, 0);

function poll(fd: number): number {
  const at = p.put(new Uint8Array(8));
  p.memory.writeU32(at, fd);
  p.memory.writeU16(at + 4, POLLIN | POLLOUT);
  p.call("poll", at, 1, 0);
  return p.memory.readU16(at + 6);
}

describe.skipIf(!hasMkfifo())("FIFOs (skipped without the mkfifo command)", () => {
  it("are made with the mask applied, under any name", () => {
    p.files.umask = 0o27;
    expect(make(path, 0o666)).toBe(0);
    expect(make(path, 0o666)).toBe(-errno.EEXIST);
    expect(make(`${folder}/no/x`, 0o666)).toBe(-errno.ENOENT);
    expect(make(`${folder}/s`, 0o4755)).toBe(0);
    const mode = (name: string): number => p.host.files.stat(name, false).mode;
    expect(mode(path)).toBe(S_IFIFO | 0o640);
    expect(mode(`${folder}/s`)).toBe(S_IFIFO | 0o4750);
  });

  it("without waiting: ENXIO, EOF without writers, EAGAIN, EPIPE, what poll says of it", () => {
    make(path, 0o600);
    expect(open(abi.O_WRONLY | abi.O_NONBLOCK)).toBe(-errno.ENXIO);
    const r = open(abi.O_RDONLY | abi.O_NONBLOCK);
    expect(p.call("read", r, buffer, 8)).toBe(0);
    expect(poll(r)).toBe(0);
    const w = open(abi.O_WRONLY | abi.O_NONBLOCK);
    expect(p.call("read", r, buffer, 8)).toBe(-errno.EAGAIN);
    expect(poll(w)).toBe(POLLOUT);
    expect(p.call("write", w, "abc", 3)).toBe(3);
    expect(poll(r)).toBe(POLLIN);
    const count = p.room(4);
    expect(p.call("ioctl", r, 0x541b, count)).toBe(0);
    expect(p.memory.readU32(count)).toBe(3);
    expect(p.call("read", r, buffer, 8)).toBe(3);
    expect(p.text(buffer, 3)).toBe("abc");
    p.call("close", w);
    expect(p.call("read", r, buffer, 8)).toBe(0);
    expect(poll(r)).toBe(POLLHUP);
    const again = open(abi.O_WRONLY);
    expect(poll(r)).toBe(0);
    p.call("close", r);
    expect(poll(again)).toBe(POLLOUT | POLLERR);
    expect(p.call("write", again, "x", 1)).toBe(-errno.EPIPE);
    expect(p.signals).toEqual([SIGNAL.SIGPIPE]);
    expect(p.call("lseek", again, 0, 0)).toBe(-errno.ESPIPE);
  });

  it("an open waits for the other side, a read for bytes, a write for room", async () => {
    make(path, 0o600);
    const reading = p.wait("openat", abi.AT_FDCWD, path, abi.O_RDONLY, 0);
    const w = open(abi.O_WRONLY);
    const r = await reading.done();
    const bytes = p.wait("read", r, buffer, 8);
    expect(p.call("write", w, "hello", 5)).toBe(5);
    expect(await bytes.done()).toBeGreaterThan(0);
    p.call("fcntl", r, abi.F_SETFL, abi.O_NONBLOCK);
    p.call("read", r, buffer, 8);
    let sent = 0;
    while (sent < 0x1_0000) sent += p.call("write", w, buffer, 0x1000);
    const writing = p.wait("write", w, buffer, 0x1800);
    let got = 0;
    while (got < 0x1_0000) got += p.call("read", r, buffer, 0x1000);
    expect(await writing.done()).toBe(0x1800);
    p.call("close", r);
    p.call("close", w);
    const opening = p.wait("openat", abi.AT_FDCWD, path, abi.O_WRONLY, 0);
    expect(open(abi.O_RDONLY | abi.O_NONBLOCK)).toBeGreaterThan(0);
    expect(await opening.done()).toBeGreaterThan(0);
  });
});
