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

const at = (path: string): { family: typeof abi.AF_UNIX; path: string } => ({ family: abi.AF_UNIX, path });
const unix = (type = abi.SOCK_STREAM): number => p.socket(abi.AF_UNIX, type | abi.SOCK_NONBLOCK);

describe("Unix stream sockets", () => {
  it("without a connection", () => {
    const s = unix();
    expect(p.poll(s)).toBe(POLLOUT | POLLHUP);
    expect(p.send(s, "x")).toBe("ENOTCONN");
    expect(p.receive(s)).toBe("EINVAL");
    expect(p.do("listen", s, 1)).toBe("EINVAL");
    expect(p.connect(s, at("/nonexistent"))).toBe("ENOENT");
    expect(p.connect(s, at("\0nonexistent"))).toBe("ECONNREFUSED");
    expect(p.connect(s, p.loopback(1))).toBe("EINVAL");
  });

  it("connect by name: a path, an abstract name, or one that the kernel chose", () => {
    for (const name of ["/run/test.sock", "\0abstract", ""]) {
      const listener = unix();
      expect(p.bind(listener, at(name))).toBe(0);
      expect(p.bind(unix(), at(name)) === 0).toBe(name === "");
      const own = p.name(listener) as ReturnType<typeof at>;
      if (name === "") expect(own.path).toMatch(/^\0[0-9a-f]{5}$/);
      else expect(own.path).toBe(name);
      expect(p.do("listen", listener, 0)).toBe(0);
      expect(p.poll(listener)).toBe(0);
      const client = unix();
      expect(p.connect(client, own)).toBe(0);
      expect(p.connect(unix(), own)).toBe("EAGAIN");
      expect(p.poll(listener)).toBe(POLLIN);
      const server = p.accept(listener) as number;
      expect(p.name(client, "getpeername")).toEqual(own);
      expect(p.name(server, "getpeername")).toEqual(at(""));
      p.send(client, "hello");
      expect(p.receive(server)).toBe("hello");
    }
  });

  it("tell who is at the other end", () => {
    const [a] = p.pair();
    p.reset();
    const length = p.put(new Uint8Array(Uint32Array.of(12).buffer));
    const value = p.room(12);
    expect(p.call("getsockopt", a, abi.SOL_SOCKET, abi.SO_PEERCRED, value, length)).toBe(0);
    expect([0, 4, 8].map((i) => p.memory.readU32(value + i))).toEqual([p.pid, p.uid, p.gid]);
  });

  it("end, and are reset if something was not read", () => {
    const [a, b] = p.pair();
    expect(p.poll(a)).toBe(POLLOUT);
    p.call("close", b);
    expect(p.poll(a)).toBe(POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    expect(p.receive(a)).toBe("");
    expect(p.send(a, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    const [c, d] = p.pair();
    p.send(c, "unread");
    p.call("close", d);
    expect(p.poll(c)).toBe(POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
    expect([p.receive(c), p.receive(c)]).toEqual(["ECONNRESET", ""]);
    const [e, f] = p.pair();
    p.do("shutdown", e, abi.SHUT_WR);
    expect([p.poll(e), p.poll(f)]).toEqual([POLLOUT, POLLIN | POLLOUT | POLLRDHUP]);
    expect(p.send(e, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    expect(p.receive(f)).toBe("");
  });

  it("hold a writer back", () => {
    const [a, b] = p.pair();
    p.reset();
    const data = p.room(60_000);
    let total = 0;
    for (let count = 1; count > 0; total += Math.max(0, count)) count = p.call("write", a, data, 60_000);
    expect(total).toBe(212_992);
    expect(p.poll(a)).toBe(0);
    p.call("read", b, data, 60_000);
    expect(p.poll(a)).toBe(POLLOUT);
  });
});

describe("Unix message sockets", () => {
  it("keep messages apart", () => {
    for (const type of [abi.SOCK_DGRAM, abi.SOCK_SEQPACKET]) {
      const [a, b] = p.pair(type);
      p.send(a, "abc");
      p.send(a, "de");
      expect([p.receive(b, 2), p.receive(b), p.receive(b)]).toEqual(["ab", "de", "EAGAIN"]);
      p.reset();
      expect(p.call("write", a, p.room(8), 212_961)).toBe(-errno.EMSGSIZE);
      p.call("close", b);
      expect(p.poll(a)).toBe(type === abi.SOCK_DGRAM ? POLLOUT : POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
      expect(p.send(a, "x", abi.MSG_NOSIGNAL)).toBe(type === abi.SOCK_DGRAM ? "ECONNREFUSED" : "EPIPE");
      expect(p.receive(a)).toBe(type === abi.SOCK_DGRAM ? "EAGAIN" : "");
    }
  });

  it("hold a sender back: a pair by bytes, a receiver of many by messages", () => {
    const [a, b] = p.pair(abi.SOCK_DGRAM);
    let count = 0;
    while (p.send(a, "0123456789") !== "EAGAIN") count++;
    expect(count).toBeGreaterThan(250);
    expect(p.poll(a)).toBe(0);
    p.receive(b);
    expect(p.poll(a)).toBe(POLLOUT);
    const receiver = unix(abi.SOCK_DGRAM);
    p.bind(receiver, at("\0many"));
    const sender = unix(abi.SOCK_DGRAM);
    p.connect(sender, at("\0many"));
    for (count = 0; p.send(sender, "x") !== "EAGAIN"; ) count++;
    expect(count).toBe(11);
    let woken = 0;
    p.files.table.get(sender).queue.add(() => woken++);
    p.receive(receiver);
    expect([woken, p.poll(sender)]).toEqual([1, POLLOUT]);
  });
});

describe("descriptors in messages", () => {
  /** A struct msghdr with one piece of data and room for control messages. */
  function message(text: string, control: Uint8Array): { at: number; control: number } {
    const data = p.put(text);
    const iov = p.put(new Uint8Array(BigUint64Array.of(BigInt(data), BigInt(text.length)).buffer));
    const place = p.put(control);
    const bytes = new Uint8Array(56);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(16, BigInt(iov), true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, BigInt(place), true);
    view.setBigUint64(40, BigInt(control.length), true);
    return { at: p.put(bytes), control: place };
  }
  function rights(...fds: number[]): Uint8Array {
    const bytes = new Uint8Array(16 + 4 * fds.length);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(bytes.length), true);
    view.setInt32(8, abi.SOL_SOCKET, true);
    view.setInt32(12, abi.SCM_RIGHTS, true);
    for (const [i, fd] of fds.entries()) view.setInt32(16 + 4 * i, fd, true);
    return bytes;
  }

  it("arrive as new ones, and live on when the sender's are closed", () => {
    const [a, b] = p.pair();
    p.reset();
    const file = p.call("memfd_create", "f", 0);
    p.call("write", file, "shared", 6);
    expect(p.call("sendmsg", a, message("x", rights(99)).at, 0)).toBe(-errno.EBADF);
    expect(p.call("sendmsg", a, message("x", rights(file)).at, 0)).toBe(1);
    p.call("close", file);
    const got = message("?", new Uint8Array(64));
    expect(p.call("recvmsg", b, got.at, abi.MSG_CMSG_CLOEXEC)).toBe(1);
    expect(p.memory.readU64(got.at + 40)).toBe(24n);
    expect(p.memory.readU64(got.control)).toBe(20n);
    const fd = p.memory.readI32(got.control + 16);
    expect(p.call("fcntl", fd, 1)).toBe(1);
    const buffer = p.room(8);
    expect(p.call("pread64", fd, buffer, 6, 0)).toBe(6);
    expect(p.text(buffer, 6)).toBe("shared");
  });

  it("are cut off where there is no room, and closed where nobody takes them", () => {
    const [a, b] = p.pair();
    p.reset();
    const pipe = p.room(8);
    p.call("pipe2", pipe, 0o4000);
    const [r, w] = [p.memory.readI32(pipe), p.memory.readI32(pipe + 4)];
    expect(p.call("sendmsg", a, message("x", rights(w, w)).at, 0)).toBe(1);
    const got = message("?", new Uint8Array(0));
    expect(p.call("recvmsg", b, got.at, 0)).toBe(1);
    expect(p.memory.readU32(got.at + 48)).toBe(abi.MSG_CTRUNC);
    expect(p.call("sendmsg", a, message("y", rights(w)).at, 0)).toBe(1);
    p.call("close", w);
    expect(p.call("read", r, pipe, 1)).toBe(-errno.EAGAIN);
    p.call("close", b);
    // The message is gone with the socket, and with it the last writer.
    expect(p.call("read", r, pipe, 1)).toBe(0);
  });
});
