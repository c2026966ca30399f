import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import * as ep from "../abi/poll.ts";
import { SIGNAL } from "../abi/signals.ts";
import { FakeProcess } from "./fake-process.ts";

let p: FakeProcess;
beforeEach(() => {
  p = new FakeProcess(new NodeHost());
});
afterEach(() => p.dispose());

function pipe(flags = 0): [read: number, write: number] {
  const at = p.room(8);
  expect(p.call("pipe2", at, flags)).toBe(0);
  return [p.memory.readI32(at), p.memory.readI32(at + 4)];
}

describe("pipes", () => {
  it("wait for bytes, hand them over, and end when the last writer is gone", () => {
    const [r, w] = pipe();
    const buffer = p.room(16);
    const reading = p.wait("read", r, buffer, 16);
    expect(p.call("write", w, "abc", 3)).toBe(3);
    expect(reading.result).toBe(3);
    expect(p.text(buffer, 3)).toBe("abc");
    const second = p.wait("read", r, buffer, 16);
    const copy = p.call("dup", w);
    p.call("close", w);
    expect(second.result).toBeUndefined();
    p.call("close", copy);
    expect(second.result).toBe(0);
    expect(p.call("read", r, buffer, 16)).toBe(0);
  });

  it("refuse writes without readers with EPIPE and SIGPIPE", () => {
    const [r, w] = pipe();
    p.call("close", r);
    expect(p.call("write", w, "x", 1)).toBe(-errno.EPIPE);
    expect(p.signals).toEqual([SIGNAL.SIGPIPE]);
  });

  it("hold 64 KiB; writes up to PIPE_BUF are all or nothing", () => {
    const [r, w] = pipe(abi.O_NONBLOCK);
    const data = p.put(new Uint8Array(0x8000));
    expect(p.call("read", r, data, 1)).toBe(-errno.EAGAIN);
    expect(p.call("write", w, data, 0x8000)).toBe(0x8000);
    expect(p.call("write", w, data, 0x7f00)).toBe(0x7f00);
    expect(p.call("write", w, data, 4096)).toBe(-errno.EAGAIN);
    expect(p.call("write", w, data, 5000)).toBe(256);
    expect(p.call("write", w, data, 1)).toBe(-errno.EAGAIN);
    const count = p.room(4);
    expect(p.call("ioctl", r, 0x541b, count)).toBe(0);
    expect(p.memory.readU32(count)).toBe(0x1_0000);
    expect(p.call("fcntl", w, abi.F_GETPIPE_SZ)).toBe(0x1_0000);
    expect(p.call("fcntl", w, abi.F_SETPIPE_SZ, 0x8000)).toBe(-errno.EBUSY);
    expect(p.call("fcntl", w, abi.F_SETPIPE_SZ, 0x1_0001)).toBe(0x2_0000);
    expect(p.call("write", w, data, 0x8000)).toBe(0x8000);
  });

  it("a blocking write goes on until everything is written", () => {
    const [r, w] = pipe();
    const data = p.put(new Uint8Array(0x9000).fill(7));
    expect(p.call("write", w, data, 0x9000)).toBe(0x9000);
    const writing = p.wait("write", w, data, 0x9000);
    expect(writing.block).toHaveProperty("transferred", 0x7000);
    expect(p.call("read", r, data, 0x1000)).toBe(0x1000);
    expect(writing.result).toBeUndefined();
    expect(p.call("read", r, data, 0x1000)).toBe(0x1000);
    expect(writing.result).toBe(0x9000);
  });

  it("keep bytes that a bad pointer could not take", () => {
    const [r, w] = pipe();
    const end = p.scratch + 0x1_0000;
    p.call("write", w, "abcdef", 6);
    expect(p.call("read", r, end, 4)).toBe(-errno.EFAULT);
    expect(p.call("read", r, end - 2, 4)).toBe(2);
    const buffer = p.room(8);
    expect(p.call("read", r, buffer, 8)).toBe(4);
    expect(p.text(buffer, 4)).toBe("cdef");
    expect(p.call("write", w, end, 4)).toBe(-errno.EFAULT);
    // The first byte lies on the last page, the rest nowhere.
    expect(p.call("write", w, end - 1, 4)).toBe(1);
    expect(p.call("pread64", r, buffer, 1, 0)).toBe(-errno.ESPIPE);
    expect(p.call("lseek", r, 0, 0)).toBe(-errno.ESPIPE);
    expect(p.call("pipe2", end, 0)).toBe(-errno.EFAULT);
    expect(p.call("dup", 0)).toBe(w + 1);
    expect(p.call("pipe2", buffer, 1)).toBe(-errno.EINVAL);
  });

  it("splice moves, tee copies", () => {
    const [r, w] = pipe();
    const [r2, w2] = pipe();
    const buffer = p.room(16);
    p.call("write", w, "payload", 7);
    expect(p.call("tee", r, w2, 100, 0)).toBe(7);
    expect(p.call("splice", r, 0, w2, 0, 3, 0)).toBe(3);
    expect(p.call("read", r2, buffer, 16)).toBe(10);
    expect(p.text(buffer, 10)).toBe("payloadpay");
    expect(p.call("splice", r, 0, w, 0, 3, 0)).toBe(-errno.EINVAL);
    expect(p.call("splice", r, buffer, w2, 0, 3, 0)).toBe(-errno.ESPIPE);
    p.call("read", r, buffer, 16);
    expect(p.call("splice", r, 0, w2, 0, 3, 2)).toBe(-errno.EAGAIN);
  });
});

describe("eventfd", () => {
  const number = (value: bigint): number => p.put(new Uint8Array(new BigUint64Array([value]).buffer));

  it("counts, or counts down as a semaphore", () => {
    const fd = p.call("eventfd2", 3, ep.EFD_NONBLOCK);
    const buffer = p.room(8);
    expect(p.call("write", fd, number(4n), 8)).toBe(8);
    expect(p.call("read", fd, buffer, 7)).toBe(-errno.EINVAL);
    expect(p.call("read", fd, buffer, 8)).toBe(8);
    expect(p.memory.readU64(buffer)).toBe(7n);
    expect(p.call("read", fd, buffer, 8)).toBe(-errno.EAGAIN);
    expect(p.call("write", fd, number(0xffff_ffff_ffff_ffffn), 8)).toBe(-errno.EINVAL);
    expect(p.call("write", fd, number(0xffff_ffff_ffff_fffen), 8)).toBe(8);
    expect(p.call("write", fd, number(1n), 8)).toBe(-errno.EAGAIN);
    const semaphore = p.call("eventfd2", 2, ep.EFD_SEMAPHORE);
    expect(p.call("read", semaphore, buffer, 8)).toBe(8);
    expect(p.memory.readU64(buffer)).toBe(1n);
    expect(p.call("read", semaphore, buffer, 8)).toBe(8);
    const waiting = p.wait("read", semaphore, buffer, 8);
    p.call("write", semaphore, number(1n), 8);
    expect(waiting.result).toBe(8);
    expect(p.call("write", semaphore, p.put(new Uint8Array(16)), 16)).toBe(8);
    expect(p.call("eventfd2", 0, 2)).toBe(-errno.EINVAL);
  });
});

describe("epoll", () => {
  const event = (events: number, data: bigint): number => {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, events, true);
    view.setBigUint64(4, data, true);
    return p.put(bytes);
  };
  const add = (set: number, fd: number, events: number, data = BigInt(fd)): number =>
    p.call("epoll_ctl", set, ep.EPOLL_CTL_ADD, fd, event(events, data));
  const modify = (set: number, fd: number, events: number): number =>
    p.call("epoll_ctl", set, ep.EPOLL_CTL_MOD, fd, event(events, BigInt(fd)));
  const take = (set: number, max = 8): [events: number, data: bigint][] => {
    const at = p.room(96);
    const count = p.call("epoll_wait", set, at, max, 0);
    return Array.from({ length: count }, (_, i) => [p.memory.readU32(at + 12 * i), p.memory.readU64(at + 12 * i + 4)]);
  };

  it("level-triggered: reports as long as there is something", () => {
    const set = p.call("epoll_create1", 0);
    const [r, w] = pipe();
    expect(add(set, r, ep.POLLIN, 0xdead_beef_0000_0001n)).toBe(0);
    expect(take(set)).toEqual([]);
    p.call("write", w, "ab", 2);
    expect(take(set)).toEqual([[ep.POLLIN, 0xdead_beef_0000_0001n]]);
    expect(take(set)).toHaveLength(1);
    p.call("read", r, p.room(8), 8);
    expect(take(set)).toEqual([]);
    p.call("close", w);
    expect(take(set)).toEqual([[ep.POLLHUP, 0xdead_beef_0000_0001n]]);
  });

  it("edge-triggered: reports once an event", () => {
    const set = p.call("epoll_create1", 0);
    const [r, w] = pipe();
    add(set, r, ep.POLLIN | ep.EPOLLET);
    p.call("write", w, "ab", 2);
    expect(take(set)).toHaveLength(1);
    expect(take(set)).toEqual([]);
    p.call("write", w, "c", 1);
    expect(take(set)).toHaveLength(1);
    modify(set, r, ep.POLLIN | ep.EPOLLET);
    expect(take(set)).toHaveLength(1);
  });

  it("one-shot: reports once until armed again", () => {
    const set = p.call("epoll_create1", 0);
    const [r, w] = pipe();
    add(set, r, ep.POLLIN | ep.EPOLLONESHOT);
    p.call("write", w, "ab", 2);
    expect(take(set)).toHaveLength(1);
    p.call("write", w, "c", 1);
    p.call("close", w);
    expect(take(set)).toEqual([]);
    modify(set, r, ep.POLLIN | ep.EPOLLONESHOT);
    expect(take(set)).toEqual([[ep.POLLIN | ep.POLLHUP, BigInt(r)]]);
  });

  it("level-triggered items take turns when there is room for one only", () => {
    const set = p.call("epoll_create1", 0);
    const fds = [p.call("eventfd2", 1, 0), p.call("eventfd2", 1, 0)];
    for (const fd of fds) add(set, fd, ep.POLLIN);
    const first = take(set, 1)[0][1];
    const second = take(set, 1)[0][1];
    expect([first, second].sort()).toEqual(fds.map(BigInt));
    expect(take(set, 1)[0][1]).toBe(first);
  });

  it("sleeps until an event or the deadline, and never restarts after a signal", () => {
    const set = p.call("epoll_create1", 0);
    const fd = p.call("eventfd2", 0, 0);
    add(set, fd, ep.POLLIN);
    const at = p.room(96);
    const waiting = p.wait("epoll_pwait", set, at, 8, -1, 0, 0);
    expect(waiting.block.deadline).toBe(Number.POSITIVE_INFINITY);
    expect(waiting.block.onSignal).toBe("eintr");
    p.call("write", fd, p.put(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0])), 8);
    expect(waiting.result).toBe(1);
    p.call("read", fd, at, 8);
    const limited = p.wait("epoll_wait", set, at, 8, 50);
    expect(limited.block.deadline - p.clock.monotonicNs()).toBeGreaterThan(40e6);
    expect(limited.block.deadline - p.clock.monotonicNs()).toBeLessThan(51e6);
    expect(limited.expire()).toBe(0);
  });

  it("forgets descriptions that are closed, not descriptors", () => {
    const set = p.call("epoll_create1", 0);
    const [r, w] = pipe();
    add(set, r, ep.POLLIN);
    const copy = p.call("dup", r);
    p.call("close", r);
    p.call("write", w, "a", 1);
    expect(take(set)).toHaveLength(1);
    p.call("close", copy);
    expect(take(set)).toEqual([]);
  });

  it("checks in Linux's order", () => {
    const set = p.call("epoll_create1", 0);
    const other = p.call("epoll_create", 1);
    const [r] = pipe();
    const file = p.call("open", "/bin/sh", 0, 0);
    expect(p.call("epoll_ctl", 99, 1, 98, 1)).toBe(-errno.EFAULT);
    expect(add(99, r, 0)).toBe(-errno.EBADF);
    expect(add(set, 99, 0)).toBe(-errno.EBADF);
    expect(add(set, file, 0)).toBe(-errno.EPERM);
    expect(add(r, file, 0)).toBe(-errno.EPERM);
    expect(add(set, set, 0)).toBe(-errno.EINVAL);
    expect(add(r, set, 0)).toBe(-errno.EINVAL);
    expect(add(set, other, ep.POLLIN)).toBe(0);
    expect(add(other, set, ep.POLLIN)).toBe(-errno.ELOOP);
    expect(add(set, r, ep.POLLIN)).toBe(0);
    expect(add(set, r, ep.POLLIN)).toBe(-errno.EEXIST);
    expect(modify(other, r, ep.POLLIN)).toBe(-errno.ENOENT);
    expect(p.call("epoll_ctl", other, ep.EPOLL_CTL_DEL, r, 0)).toBe(-errno.ENOENT);
    expect(p.call("epoll_ctl", set, 9, r, event(0, 0n))).toBe(-errno.EINVAL);
    expect(p.call("epoll_ctl", set, ep.EPOLL_CTL_DEL, r, 0)).toBe(0);
    expect(p.call("epoll_wait", set, p.room(12), 0, 0)).toBe(-errno.EINVAL);
    expect(p.call("epoll_wait", r, p.room(12), 1, 0)).toBe(-errno.EINVAL);
    expect(p.call("epoll_create1", 1)).toBe(-errno.EINVAL);
    expect(p.call("epoll_create", 0)).toBe(-errno.EINVAL);
    // A set that has something to report is readable itself.
    const fd = p.call("eventfd2", 1, 0);
    expect(add(other, fd, ep.POLLIN)).toBe(0);
    expect(take(set)).toEqual([[ep.POLLIN, BigInt(other)]]);
  });
});

describe("poll and select", () => {
  it("poll tells what is ready, POLLNVAL for what is not open, nothing for negative numbers", () => {
    const [r, w] = pipe();
    const fds = [[r, ep.POLLIN], [w, ep.POLLOUT], [77, ep.POLLIN], [-1, ep.POLLIN]]; // biome-ignore format: pairs
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    fds.forEach(([fd, events], i) => {
      view.setInt32(8 * i, fd, true);
      view.setInt16(8 * i + 4, events, true);
    });
    const at = p.put(bytes);
    expect(p.call("poll", at, 4, 0)).toBe(2);
    expect([0, 1, 2, 3].map((i) => p.memory.readU16(at + 8 * i + 6))).toEqual([0, ep.POLLOUT, ep.POLLNVAL, 0]);
    const waiting = p.wait("poll", at, 1, 1000);
    p.call("write", w, "x", 1);
    expect(waiting.result).toBe(1);
    expect(p.memory.readU16(at + 6)).toBe(ep.POLLIN);
    p.call("close", w);
    expect(p.call("poll", at, 1, 0)).toBe(1);
    expect(p.memory.readU16(at + 6)).toBe(ep.POLLIN | ep.POLLHUP);
    expect(p.call("poll", at, 5000, 0)).toBe(-errno.EINVAL);
    expect(p.call("poll", 0x50_0000, 1, 0)).toBe(-errno.EFAULT);
  });

  it("select answers in its sets and stores the time left", () => {
    const [r, w] = pipe();
    const set = (fd: number): number => {
      const bytes = new Uint8Array(8);
      bytes[fd >> 3] = 1 << (fd & 7);
      return p.put(bytes);
    };
    const [reads, writes] = [set(r), set(w)];
    const timeout = p.put(new Uint8Array(new BigInt64Array([5n, 0n]).buffer));
    expect(p.call("select", w + 1, reads, writes, 0, timeout)).toBe(1);
    expect(p.memory.readU64(reads)).toBe(0n);
    expect(p.memory.readU64(writes)).toBe(1n << BigInt(w));
    expect(p.memory.readU64(timeout)).toBe(4n);
    const waiting = p.wait("select", r + 1, set(r), 0, 0, 0);
    p.call("write", w, "x", 1);
    expect(waiting.result).toBe(1);
    expect(p.call("select", 60, set(50), 0, 0, 0)).toBe(-errno.EBADF);
    expect(p.call("select", -1, 0, 0, 0, 0)).toBe(-errno.EINVAL);
  });
});
