import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errno } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../abi/poll.ts";
import * as abi from "../abi/socket.ts";
import { TestHost } from "../testing/test-host.ts";
import type { SocketAddress } from "./address.ts";
import { FakeSockets, named } from "./fake-sockets.ts";

let p: FakeSockets;
beforeEach(() => {
  p = new FakeSockets(new TestHost());
});
afterEach(() => p.dispose());

const udp = (family = abi.AF_INET): number => p.socket(family, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK);
const bound = (): [fd: number, at: SocketAddress] => {
  const fd = udp();
  p.bind(fd, p.loopback(0));
  return [fd, p.name(fd) as SocketAddress];
};
const sendTo = (fd: number, text: string, to: SocketAddress): number | string => {
  p.reset();
  return named(p.call("sendto", fd, text, text.length, 0, ...p.address(to)));
};

describe("UDP sockets", () => {
  it("deliver messages whole, with the sender's address; what does not fit is lost", () => {
    const [a, at] = bound();
    const [b, from] = bound();
    expect(sendTo(b, "first", at)).toBe(5);
    expect(sendTo(b, "", at)).toBe(0);
    expect(sendTo(b, "third", at)).toBe(5);
    const count = p.room(4);
    p.call("ioctl", a, 0x541b, count);
    expect(p.memory.readU32(count)).toBe(5);
    expect(p.receive(a, 2, abi.MSG_PEEK | abi.MSG_TRUNC)).toBe("fi");
    p.reset();
    const buffer = p.room(16);
    const length = p.put(new Uint8Array(Uint32Array.of(128).buffer));
    const name = p.room(128);
    expect(p.call("recvfrom", a, buffer, 2, abi.MSG_TRUNC, name, length)).toBe(5);
    expect(p.memory.readU32(length)).toBe(16);
    expect(p.memory.readU16(name)).toBe(abi.AF_INET);
    expect((p.memory.readU8(name + 2) << 8) | p.memory.readU8(name + 3)).toBe((from as { port: number }).port);
    expect(p.receive(a)).toBe("");
    expect(p.poll(a)).toBe(POLLIN | POLLOUT);
    expect(p.receive(a)).toBe("third");
    expect(p.receive(a)).toBe("EAGAIN");
    expect(p.poll(a)).toBe(POLLOUT);
  });

  it("check what they send, and take a port when they first do", () => {
    const s = udp();
    expect(p.send(s, "")).toBe("EDESTADDRREQ");
    p.reset();
    expect(named(p.call("sendto", s, p.room(8), 65_508, 0, ...p.address(p.loopback(9))))).toBe("EMSGSIZE");
    expect(sendTo(s, "x", p.loopback(0))).toBe("EINVAL");
    expect(sendTo(s, "x", { family: abi.AF_INET, ip: "255.255.255.255", port: 9 })).toBe("EACCES");
    expect(sendTo(s, "x", { family: abi.AF_INET, ip: "192.0.2.1", port: 9 })).toBe("ENETUNREACH");
    expect(p.port(s)).toBe(0);
    expect(sendTo(s, "x", p.loopback(9))).toBe(1);
    expect(p.port(s)).toBeGreaterThan(1023);
  });

  it("hear their peer only once they are connected, and that nobody is there", () => {
    const [a, at] = bound();
    const [b, from] = bound();
    const [c] = bound();
    expect(p.connect(a, from)).toBe(0);
    sendTo(c, "stranger", at);
    sendTo(b, "peer", at);
    expect(p.receive(a)).toBe("peer");
    expect(p.send(a, "back")).toBe(4);
    expect(p.receive(b)).toBe("back");
    p.call("close", b);
    expect(p.send(a, "x")).toBe(1);
    expect(p.poll(a)).toBe(POLLOUT | POLLERR);
    expect(p.receive(a)).toBe("ECONNREFUSED");
    expect(p.poll(a)).toBe(POLLOUT);
    expect(p.connect(a, { family: abi.AF_UNSPEC })).toBe(0);
    expect(p.name(a, "getpeername")).toBe("ENOTCONN");
  });

  it("shut down, also without a peer, though that fails", () => {
    const [a, at] = bound();
    p.connect(a, at);
    expect(p.do("shutdown", a, abi.SHUT_RD)).toBe(0);
    expect(p.poll(a)).toBe(POLLIN | POLLOUT | POLLRDHUP);
    expect(p.receive(a)).toBe("");
    expect(p.do("shutdown", a, abi.SHUT_WR)).toBe(0);
    expect(p.poll(a)).toBe(POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    expect(p.send(a, "x")).toBe("EPIPE");
    const [b] = bound();
    expect(p.do("shutdown", b, abi.SHUT_WR)).toBe("ENOTCONN");
    expect(sendTo(b, "x", at)).toBe("EPIPE");
  });

  it("drop what their buffer has no room for", () => {
    const [a, at] = bound();
    p.setOption(a, abi.SOL_SOCKET, abi.SO_RCVBUF, 2000);
    const [b] = bound();
    for (let i = 0; i < 20; i++) expect(sendTo(b, `${i}`.padEnd(500), at)).toBe(500);
    let count = 0;
    while (p.receive(a) !== "EAGAIN") count++;
    expect(count).toBe(4);
  });

  it("send to IPv4 and receive from there if they are IPv6", () => {
    const six = udp(abi.AF_INET6);
    p.bind(six, { family: abi.AF_INET6, ip: "::", port: 0 });
    const [four, at] = bound();
    const port = p.port(six);
    expect(sendTo(four, "to six", p.loopback(port))).toBe(6);
    expect(p.receive(six)).toBe("to six");
    const mapped: SocketAddress = { family: abi.AF_INET6, ip: "127.0.0.1", port: (at as { port: number }).port };
    expect(sendTo(six, "to four", mapped)).toBe(7);
    expect(p.receive(four)).toBe("to four");
  });

  it("receive what is sent to a group that they have joined", () => {
    const [, at] = bound();
    const port = (at as { port: number }).port + 1;
    const members = [udp(), udp(), udp()];
    for (const fd of members) {
      p.setOption(fd, abi.SOL_SOCKET, abi.SO_REUSEADDR, 1);
      expect(p.bind(fd, { family: abi.AF_INET, ip: "0.0.0.0", port })).toBe(0);
    }
    const join = (fd: number): number | string =>
      p.setOption(fd, abi.IPPROTO_IP, abi.IP_ADD_MEMBERSHIP, 0x0100_00ef, 0);
    expect(join(members[0])).toBe(0);
    expect(join(members[1])).toBe(0);
    expect(join(members[1])).toBe("EADDRINUSE");
    sendTo(udp(), "all", { family: abi.AF_INET, ip: "239.0.0.1", port });
    expect(members.map((fd) => p.receive(fd))).toEqual(["all", "all", "EAGAIN"]);
  });
});

describe("several messages in one call", () => {
  it("sendmmsg and recvmmsg", () => {
    const [a, at] = bound();
    const [b] = bound();
    p.connect(b, at);
    p.reset();
    const headers = (texts: readonly string[], size: number): number => {
      const bytes = new Uint8Array(64 * texts.length);
      const view = new DataView(bytes.buffer);
      texts.forEach((text, i) => {
        const data = p.put(text.padEnd(size, "\0"));
        const iov = p.put(
          new Uint8Array(BigUint64Array.of(BigInt(data), BigInt(text === "" ? size : text.length)).buffer),
        );
        view.setBigUint64(64 * i + 16, BigInt(iov), true);
        view.setBigUint64(64 * i + 24, 1n, true);
      });
      return p.put(bytes);
    };
    const out = headers(["one", "three"], 8);
    expect(p.call("sendmmsg", b, out, 2, 0)).toBe(2);
    expect([p.memory.readU32(out + 56), p.memory.readU32(out + 120)]).toEqual([3, 5]);
    const into = headers(["", "", ""], 8);
    expect(p.call("recvmmsg", a, into, 3, 0, 0)).toBe(2);
    expect([p.memory.readU32(into + 56), p.memory.readU32(into + 120)]).toEqual([3, 5]);
    expect(p.call("recvmmsg", a, into, 3, 0, 0)).toBe(-errno.EAGAIN);
  });
});
