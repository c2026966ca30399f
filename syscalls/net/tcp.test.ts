import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errno } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../abi/poll.ts";
import * as abi from "../abi/socket.ts";
import { TestHost } from "../testing/test-host.ts";
import { FakeSockets } from "./fake-sockets.ts";

// What is expected here was asked of Linux 6.18 first.
let p: FakeSockets;
beforeEach(() => {
  p = new FakeSockets(new TestHost());
});
afterEach(() => p.dispose());

const ENDED = POLLIN | POLLOUT | POLLRDHUP;
const RESET = ENDED | POLLHUP | POLLERR;

describe("a TCP socket without a connection", () => {
  it("polls as hung up and refuses to transfer", () => {
    const s = p.socket();
    expect(p.poll(s)).toBe(POLLOUT | POLLHUP);
    expect(p.send(s, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    expect(p.receive(s)).toBe("ENOTCONN");
    expect(p.name(s)).toEqual({ family: abi.AF_INET, ip: "0.0.0.0", port: 0 });
    expect(p.name(s, "getpeername")).toBe("ENOTCONN");
    expect(p.do("shutdown", s, abi.SHUT_WR)).toBe("ENOTCONN");
    expect(p.do("shutdown", s, 3)).toBe("EINVAL");
    expect(p.signals).toEqual([]);
    expect(p.send(s, "x")).toBe("EPIPE");
    expect(p.signals).toHaveLength(1);
  });

  it("is of a family, a type and a protocol that there are", () => {
    const make = (...args: number[]): number | string => p.do("socket", ...args);
    expect(make(30, abi.SOCK_STREAM, 0)).toBe("EAFNOSUPPORT");
    expect(make(abi.AF_INET, abi.SOCK_STREAM, 77)).toBe("EPROTONOSUPPORT");
    expect(make(abi.AF_INET, abi.SOCK_STREAM, 262)).toBe("EPROTONOSUPPORT");
    expect(make(abi.AF_INET, abi.SOCK_SEQPACKET, 0)).toBe("ESOCKTNOSUPPORT");
    expect(make(abi.AF_INET, abi.SOCK_STREAM | 0x100, 0)).toBe("EINVAL");
    expect(p.do("bind", 0, 0, 16)).toBe("ENOTSOCK");
    expect(p.do("bind", 99, 0, 16)).toBe("EBADF");
  });
});

describe("connecting", () => {
  it("is refused where nobody listens, and can be tried again", () => {
    const s = p.socket();
    expect(p.connect(s, p.loopback(1))).toBe("ECONNREFUSED");
    expect(p.poll(s)).toBe(POLLOUT | POLLHUP);
    expect(p.option(s, abi.SOL_SOCKET, abi.SO_ERROR)).toBe(0);
    const { at } = p.listener();
    expect(p.connect(s, at)).toBe(0);
  });

  it("without waiting tells by SO_ERROR", () => {
    const s = p.socket(abi.AF_INET, abi.SOCK_STREAM | abi.SOCK_NONBLOCK);
    expect(p.connect(s, p.loopback(1))).toBe("EINPROGRESS");
    expect(p.poll(s)).toBe(RESET);
    expect(p.option(s, abi.SOL_SOCKET, abi.SO_ERROR)).toBe(errno.ECONNREFUSED);
    expect(p.poll(s)).toBe(ENDED | POLLHUP);
    expect(p.connect(s, p.loopback(1))).toBe("ECONNABORTED");
  });

  it("reports success once, then that it is connected", () => {
    const { fd, at } = p.listener();
    const s = p.socket(abi.AF_INET, abi.SOCK_STREAM | abi.SOCK_NONBLOCK);
    expect(p.connect(s, at)).toBe("EINPROGRESS");
    expect(p.poll(s)).toBe(POLLOUT);
    expect(p.connect(s, at)).toBe(0);
    expect(p.connect(s, at)).toBe("EISCONN");
    expect(p.poll(fd)).toBe(POLLIN);
    const server = p.accept(fd) as number;
    expect(p.name(server, "getpeername")).toEqual(p.name(s));
    expect(p.name(server)).toEqual(at);
    p.call("fcntl", fd, 4, 0o4000);
    expect(p.accept(fd)).toBe("EAGAIN");
    expect(p.connect(fd, at)).toBe("EISCONN");
  });

  it("waits where the queue is full, until there is room or nobody listens", () => {
    const { fd, at } = p.listener(0);
    expect(p.connect(p.socket(), at)).toBe(0);
    const second = p.waitFor("connect", p.socket(), ...p.address(at));
    const third = p.waitFor("connect", p.socket(), ...p.address(at));
    expect(second.result).toBeUndefined();
    p.call("accept", fd, 0, 0);
    expect(second.result).toBe(0);
    expect(third.result).toBeUndefined();
    p.call("close", fd);
    expect(third.result).toBe(-errno.ECONNREFUSED);
  });

  it("needs an address of the family, and a network for others than this computer's", () => {
    const s = p.socket();
    expect(p.connect(s, { family: abi.AF_INET6, ip: "::1", port: 1 })).toBe("EAFNOSUPPORT");
    expect(p.connect(s, { family: abi.AF_INET, ip: "192.0.2.1", port: 1 })).toBe("ENETUNREACH");
    expect(p.do("connect", s, p.put(new Uint8Array([2, 0, 0, 1])), 4)).toBe("EINVAL");
    expect(p.bind(s, { family: abi.AF_INET, ip: "192.0.2.1", port: 0 })).toBe("EADDRNOTAVAIL");
  });
});

describe("ports", () => {
  it("belong to one socket, unless both allow otherwise", () => {
    const { at } = p.listener();
    const b = p.socket();
    expect(p.bind(b, at)).toBe("EADDRINUSE");
    p.setOption(b, abi.SOL_SOCKET, abi.SO_REUSEADDR, 1);
    expect(p.bind(b, at)).toBe("EADDRINUSE");
    const [c, d] = [p.socket(), p.socket()];
    for (const s of [c, d]) p.setOption(s, abi.SOL_SOCKET, abi.SO_REUSEADDR, 1);
    p.bind(c, p.loopback(0));
    expect(p.bind(c, p.loopback(0))).toBe("EINVAL");
    expect(p.bind(d, p.name(c) as typeof at)).toBe(0);
    expect(p.do("listen", c, 1)).toBe(0);
    expect(p.do("listen", d, 1)).toBe("EADDRINUSE");
  });

  it("of the IPv6 wildcard take IPv4 too, unless told not to", () => {
    const dual = p.socket(abi.AF_INET6);
    p.bind(dual, { family: abi.AF_INET6, ip: "::", port: 0 });
    p.do("listen", dual, 5);
    const port = p.port(dual);
    const s = p.socket();
    expect(p.bind(s, p.loopback(port))).toBe("EADDRINUSE");
    expect(p.connect(s, p.loopback(port))).toBe(0);
    const server = p.accept(dual) as number;
    expect(p.name(server, "getpeername")).toMatchObject({ family: abi.AF_INET6, ip: "127.0.0.1" });
    const only = p.socket(abi.AF_INET6);
    p.setOption(only, abi.IPPROTO_IPV6, abi.IPV6_V6ONLY, 1);
    p.bind(only, { family: abi.AF_INET6, ip: "::", port: 0 });
    p.do("listen", only, 5);
    expect(p.connect(p.socket(), p.loopback(p.port(only)))).toBe("ECONNREFUSED");
    expect(p.bind(p.socket(), p.loopback(p.port(only)))).toBe(0);
  });
});

describe("a connection", () => {
  it("carries bytes both ways, in order", () => {
    const [c, s] = p.connection();
    expect(p.poll(c)).toBe(POLLOUT);
    expect(p.send(c, "abc")).toBe(3);
    expect(p.do("write", c, "def", 3)).toBe(3);
    const count = p.room(4);
    p.call("ioctl", s, 0x541b, count);
    expect(p.memory.readU32(count)).toBe(6);
    expect(p.receive(s, 4, abi.MSG_PEEK)).toBe("abcd");
    expect(p.receive(s, 2)).toBe("ab");
    expect(p.receive(s)).toBe("cdef");
    expect(p.receive(s)).toBe("EAGAIN");
    p.send(s, "answer");
    expect(p.receive(c)).toBe("answer");
  });

  it("ends each way for itself", () => {
    const [c, s] = p.connection();
    p.send(s, "abc");
    expect(p.do("shutdown", s, abi.SHUT_WR)).toBe(0);
    expect(p.send(s, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    expect(p.poll(c)).toBe(ENDED);
    expect(p.receive(c)).toBe("abc");
    expect(p.receive(c)).toBe("");
    expect(p.send(c, "still")).toBe(5);
    expect(p.receive(s)).toBe("still");
    p.do("shutdown", c, abi.SHUT_WR);
    expect(p.poll(c)).toBe(ENDED | POLLHUP);
    expect(p.poll(s)).toBe(ENDED | POLLHUP);
    const [a, b] = p.connection();
    p.do("shutdown", a, abi.SHUT_RD);
    expect(p.receive(a)).toBe("");
    p.send(b, "late");
    expect(p.receive(a)).toBe("late");
  });

  it("answers what is written to a closed socket with a reset", () => {
    const [c, s] = p.connection();
    p.call("close", s);
    expect(p.poll(c)).toBe(ENDED);
    expect(p.send(c, "x")).toBe(1);
    expect(p.poll(c)).toBe(RESET);
    expect(p.send(c, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    expect(p.poll(c)).toBe(ENDED | POLLHUP);
    expect(p.receive(c)).toBe("");
    expect(p.name(c, "getpeername")).toBe("ENOTCONN");
  });

  it("is reset when a socket is closed with bytes unread, or at once", () => {
    const [c, s] = p.connection();
    p.send(s, "hey");
    p.send(c, "unread");
    p.call("close", s);
    expect(p.poll(c)).toBe(RESET);
    expect([p.receive(c, 2), p.receive(c, 2), p.receive(c), p.receive(c)]).toEqual(["he", "y", "ECONNRESET", ""]);
    expect(p.send(c, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    const [a, b] = p.connection();
    p.setOption(b, abi.SOL_SOCKET, abi.SO_LINGER, 1, 0);
    p.call("close", b);
    expect(p.option(a, abi.SOL_SOCKET, abi.SO_ERROR)).toBe(errno.ECONNRESET);
  });

  it("is reset when the listener goes before it is accepted", () => {
    const { fd, at } = p.listener();
    const c = p.socket();
    p.connect(c, at);
    p.call("close", fd);
    expect(p.poll(c)).toBe(RESET);
    expect(p.receive(c)).toBe("ECONNRESET");
  });

  it("holds a writer back until much of the buffer is free", () => {
    const [c, s] = p.connection();
    p.setOption(c, abi.SOL_SOCKET, abi.SO_SNDBUF, 20_000);
    expect(p.option(c, abi.SOL_SOCKET, abi.SO_SNDBUF)).toBe(40_000);
    p.reset();
    const data = p.room(50_000);
    let total = 0;
    for (let count = 1; count > 0; total += Math.max(0, count)) count = p.call("write", c, data, 50_000);
    expect(total).toBe(40_000 + 65_536);
    expect(p.call("write", c, data, 1)).toBe(-errno.EAGAIN);
    expect(p.poll(c)).toBe(0);
    let wakes = 0;
    p.files.table.get(c).queue.add(() => wakes++);
    p.call("read", s, data, 10_000);
    expect([p.poll(c), wakes]).toEqual([0, 0]);
    p.call("read", s, data, 10_000);
    expect([p.poll(c), wakes]).toEqual([POLLOUT, 1]);
    p.call("fcntl", c, 4, 0);
    const writing = p.waitFor("write", c, data, 50_000);
    expect(writing.result).toBeUndefined();
    p.call("read", s, data, 45_000);
    expect(writing.result).toBe(50_000);
  });

  it("waits for all bytes with MSG_WAITALL, and no longer than SO_RCVTIMEO", () => {
    const [c, s] = p.connection();
    p.call("fcntl", c, 4, 0);
    p.reset();
    const at = p.room(16);
    const all = p.waitFor("recvfrom", c, at, 6, abi.MSG_WAITALL, 0, 0);
    p.call("write", s, "abc", 3);
    expect(all.result).toBeUndefined();
    p.call("write", s, "defg", 4);
    expect(all.result).toBe(6);
    expect(p.text(at, 6)).toBe("abcdef");
    const rest = p.waitFor("recvfrom", c, at, 6, abi.MSG_WAITALL, 0, 0);
    p.call("shutdown", s, abi.SHUT_WR);
    expect(rest.result).toBe(1);
    const [a] = p.connection();
    p.call("fcntl", a, 4, 0);
    p.setOption(a, abi.SOL_SOCKET, abi.SO_RCVTIMEO, 1, 0, 500_000, 0);
    const limited = p.waitFor("read", a, at, 6);
    expect((limited.block.deadline - p.clock.monotonicNs()) / 1e9).toBeGreaterThan(1.4);
    expect(limited.block.onSignal).toBe("eintr");
    expect(limited.expire()).toBe(-errno.EAGAIN);
  });

  it("moves to and from pipes and files: splice, sendfile", () => {
    const [c, s] = p.connection();
    p.reset();
    const pipe = p.room(8);
    p.call("pipe2", pipe, 0);
    const [r, w] = [p.memory.readI32(pipe), p.memory.readI32(pipe + 4)];
    p.call("write", s, "through", 7);
    expect(p.call("splice", c, 0, w, 0, 100, 2)).toBe(7);
    expect(p.call("splice", r, 0, c, 0, 100, 2)).toBe(7);
    expect(p.receive(s)).toBe("through");
    expect(p.call("splice", c, 0, w, 0, 100, 2)).toBe(-errno.EAGAIN);
    const file = p.call("memfd_create", "f", 0);
    p.call("write", file, "from a file", 11);
    p.call("lseek", file, 0, 0);
    expect(p.call("sendfile", s, file, 0, 100)).toBe(11);
    expect(p.receive(c)).toBe("from a file");
    p.call("shutdown", s, abi.SHUT_WR);
    expect(p.call("splice", c, 0, w, 0, 100, 2)).toBe(0);
  });
});
