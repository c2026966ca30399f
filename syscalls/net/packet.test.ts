import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errno } from "../abi/errno.ts";
import { POLLERR } from "../abi/poll.ts";
import * as abi from "../abi/socket.ts";
import { TestHost } from "../testing/test-host.ts";
import type { SocketAddress } from "./address.ts";
import type { ControlMessage } from "./control.ts";
import { FakeSockets, named } from "./fake-sockets.ts";

let p: FakeSockets;
beforeEach(() => {
  p = new FakeSockets(new TestHost());
});
afterEach(() => p.dispose());

const { IPPROTO_IP: IP, IPPROTO_IPV6: IPV6, IPPROTO_TCP: TCP, IPPROTO_UDP: UDP, SOL_SOCKET: SOCKET } = abi;
const ints = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer);
const udp = (family: number = abi.AF_INET): number => p.socket(family, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK);

/** A socket bound to a wildcard address, and the address on the loopback interface that it is reached at. */
function server(family: typeof abi.AF_INET | typeof abi.AF_INET6 = abi.AF_INET): [fd: number, at: SocketAddress] {
  const fd = udp(family);
  p.bind(fd, { family, ip: family === abi.AF_INET ? "0.0.0.0" : "::", port: 0 });
  return [fd, { family, ip: family === abi.AF_INET ? "127.0.0.1" : "::1", port: p.port(fd) }];
}

/** The bytes of control messages as sendmsg takes them. */
function controlBytes(messages: readonly ControlMessage[]): Uint8Array {
  const parts = messages.map(({ level, type, data }) => {
    const bytes = new Uint8Array(Math.ceil((16 + data.length) / 8) * 8);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(16 + data.length), true);
    view.setInt32(8, level, true);
    view.setInt32(12, type, true);
    bytes.set(data, 16);
    return bytes;
  });
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function header(to: SocketAddress | undefined, data: number, size: number, control: number, room: number): number {
  const [name, nameLength] = to === undefined ? [0, 0] : p.address(to);
  const iov = p.put(new Uint8Array(BigUint64Array.of(BigInt(data), BigInt(size)).buffer));
  const bytes = new Uint8Array(56);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(name), true);
  view.setUint32(8, nameLength, true);
  view.setBigUint64(16, BigInt(iov), true);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(32, BigInt(control), true);
  view.setBigUint64(40, BigInt(room), true);
  return p.put(bytes);
}

function sendmsg(fd: number, text: string, to: SocketAddress, ...messages: ControlMessage[]): number | string {
  p.reset();
  const control = controlBytes(messages);
  const at = header(to, p.put(text), text.length, p.put(control), control.length);
  return named(p.call("sendmsg", fd, at, 0));
}

interface Message {
  readonly text: string;
  readonly flags: number;
  readonly used: number;
  readonly control: readonly (readonly [level: number, type: number, data: number[]])[];
}

function recvmsg(fd: number, room = 256, flags = 0): Message | string {
  p.reset();
  const [data, control] = [p.room(2000), p.room(room)];
  const at = header(p.loopback(0), data, 2000, control, room);
  const result = p.call("recvmsg", fd, at, flags);
  if (result < 0) return named(result) as string;
  const used = Number(p.memory.readU64(at + 40));
  const bytes = p.memory.readBytes(control, used);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: [number, number, number[]][] = [];
  for (let i = 0; i + 16 <= used; ) {
    const length = Number(view.getBigUint64(i, true));
    messages.push([view.getInt32(i + 8, true), view.getInt32(i + 12, true), [...bytes.subarray(i + 16, i + length)]]);
    i += Math.ceil(length / 8) * 8;
  }
  return { text: p.text(data, result), flags: p.memory.readU32(at + 48), used, control: messages };
}

const controlOf = (fd: number, room?: number): unknown => (recvmsg(fd, room) as Message).control;
const LOCALHOST = [127, 0, 0, 1];
const pktinfo = (index: number, local: number[], destination = [0, 0, 0, 0]): Uint8Array =>
  Uint8Array.of(...ints(index), ...local, ...destination);

describe("control messages of received packets", () => {
  it("tell destination, TTL and TOS as options ask, each padded to 8 bytes", () => {
    const [a, at] = server();
    for (const option of [abi.IP_PKTINFO, abi.IP_RECVTTL, abi.IP_RECVTOS])
      expect(p.setOption(a, IP, option, 1)).toBe(0);
    const b = udp();
    p.setOption(b, IP, abi.IP_TOS, 0xb8);
    expect(sendmsg(b, "one", at)).toBe(3);
    expect(recvmsg(a)).toEqual({
      text: "one",
      flags: 0,
      used: 32 + 24 + 24,
      control: [
        [IP, abi.IP_PKTINFO, [...pktinfo(1, LOCALHOST, LOCALHOST)]],
        [IP, abi.IP_TTL, [64, 0, 0, 0]],
        [IP, abi.IP_TOS, [0xb8]],
      ],
    });
    sendmsg(b, "two", { ...at, ip: "127.9.9.9" } as SocketAddress);
    expect(controlOf(a)).toContainEqual([IP, abi.IP_PKTINFO, [...pktinfo(1, [127, 9, 9, 9], [127, 9, 9, 9])]]);
  });

  it("are cut where there is too little room, and say so", () => {
    const [a, at] = server();
    for (const option of [abi.IP_PKTINFO, abi.IP_RECVTTL]) p.setOption(a, IP, option, 1);
    const b = udp();
    const receive = (room: number): Message => {
      sendmsg(b, "x", at);
      return recvmsg(a, room) as Message;
    };
    expect(receive(56)).toMatchObject({ flags: 0, used: 56 });
    // The second one's head fits, with two of its four bytes.
    expect(receive(50)).toMatchObject({ flags: abi.MSG_CTRUNC, used: 50, control: [{}, [IP, abi.IP_TTL, [64, 0]]] });
    expect(receive(32)).toMatchObject({ flags: abi.MSG_CTRUNC, used: 32, control: [{}] });
    expect(receive(8)).toMatchObject({ flags: abi.MSG_CTRUNC, used: 0, control: [] });
  });

  it("of IPv6 sockets tell both families' packets", () => {
    const [a, at] = server(abi.AF_INET6);
    const options = [abi.IPV6_RECVPKTINFO, abi.IPV6_RECVHOPLIMIT, abi.IPV6_RECVTCLASS];
    for (const option of options) expect(p.setOption(a, IPV6, option, 1)).toBe(0);
    p.setOption(a, IP, abi.IP_PKTINFO, 1);
    sendmsg(udp(abi.AF_INET6), "six", at);
    const loopback = [...new Uint8Array(15), 1];
    expect(controlOf(a)).toEqual([
      [IPV6, abi.IPV6_PKTINFO, [...loopback, 1, 0, 0, 0]],
      [IPV6, abi.IPV6_HOPLIMIT, [64, 0, 0, 0]],
      [IPV6, abi.IPV6_TCLASS, [0, 0, 0, 0]],
    ]);
    sendmsg(udp(), "four", p.loopback((at as { port: number }).port));
    expect(controlOf(a)).toEqual([
      [IPV6, abi.IPV6_PKTINFO, [...new Uint8Array(10), 0xff, 0xff, ...LOCALHOST, 1, 0, 0, 0]],
      [IP, abi.IP_PKTINFO, [...pktinfo(1, LOCALHOST, LOCALHOST)]],
    ]);
  });

  it("tell the time in one form", () => {
    const [a, at] = server();
    p.setOption(a, SOCKET, abi.SO_TIMESTAMP, 1);
    expect(p.setOption(a, SOCKET, abi.SO_TIMESTAMPNS, 1)).toBe(0);
    expect(p.option(a, SOCKET, abi.SO_TIMESTAMP)).toBe(0);
    sendmsg(udp(), "x", at);
    expect(controlOf(a)).toEqual([[SOCKET, abi.SO_TIMESTAMPNS, expect.any(Array)]]);
  });
});

describe("control messages of sendmsg", () => {
  it("choose source address, TTL and TOS of one packet", () => {
    const [a, at] = server();
    for (const option of [abi.IP_RECVTTL, abi.IP_RECVTOS]) p.setOption(a, IP, option, 1);
    const b = udp();
    const source = { level: IP, type: abi.IP_PKTINFO, data: pktinfo(0, [127, 0, 0, 7]) };
    const ttl = { level: IP, type: abi.IP_TTL, data: ints(9) };
    expect(sendmsg(b, "x", at, source, ttl, { level: IP, type: abi.IP_TOS, data: Uint8Array.of(4) })).toBe(1);
    expect(controlOf(a)).toEqual([
      [IP, abi.IP_TTL, [9, 0, 0, 0]],
      [IP, abi.IP_TOS, [4]],
    ]);
    sendmsg(b, "y", at, source);
    p.reset();
    const [name, length] = [p.room(16), p.put(ints(16))];
    expect(p.call("recvfrom", a, p.room(8), 8, 0, name, length)).toBe(1);
    expect([...p.memory.readBytes(name + 4, 4)]).toEqual([127, 0, 0, 7]);
  });

  it("fail as Linux's do", () => {
    const [, at] = server();
    const b = udp();
    const failing: [ControlMessage, string | number][] = [
      [{ level: IP, type: abi.IP_PKTINFO, data: pktinfo(0, [192, 0, 2, 1]) }, "ENETUNREACH"],
      [{ level: IP, type: abi.IP_PKTINFO, data: ints(0) }, "EINVAL"],
      [{ level: IP, type: abi.IP_TTL, data: ints(0) }, "EINVAL"],
      [{ level: IP, type: 99, data: ints(0) }, "EINVAL"],
      [{ level: UDP, type: abi.UDP_SEGMENT, data: ints(5) }, "EINVAL"],
      [{ level: SOCKET, type: 99, data: ints(5) }, "EINVAL"],
      [{ level: SOCKET, type: abi.SO_MARK, data: ints(5) }, "EPERM"],
      // Of other levels nothing is asked.
      [{ level: IPV6, type: 99, data: ints(5) }, 1],
      [{ level: 99, type: 99, data: ints(5) }, 1],
      [{ level: SOCKET, type: abi.SCM_RIGHTS, data: ints(99) }, 1],
    ];
    for (const [message, expected] of failing)
      expect(sendmsg(b, "x", at, message), JSON.stringify(message)).toBe(expected);
    p.reset();
    const short = p.put(Uint8Array.of(15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    expect(p.call("sendmsg", b, header(at, p.put("x"), 1, short, 16), 0)).toBe(-errno.EINVAL);
  });
});

describe("UDP_SEGMENT", () => {
  it("cuts a message into datagrams, by an option or for one message", () => {
    const [a, at] = server();
    const b = udp();
    const segment = { level: UDP, type: abi.UDP_SEGMENT, data: Uint8Array.of(4, 0) };
    expect(sendmsg(b, "abcdefghij", at, segment)).toBe(10);
    expect([p.receive(a), p.receive(a), p.receive(a), p.receive(a)]).toEqual(["abcd", "efgh", "ij", "EAGAIN"]);
    expect(p.setOption(b, UDP, abi.UDP_SEGMENT, 5)).toBe(0);
    expect(p.option(b, UDP, abi.UDP_SEGMENT)).toBe(5);
    sendmsg(b, "abcdefghij", at);
    expect([p.receive(a), p.receive(a), p.receive(a)]).toEqual(["abcde", "fghij", "EAGAIN"]);
    expect(sendmsg(b, "x".repeat(5 * abi.UDP_MAX_SEGMENTS + 1), at)).toBe("EINVAL");
    expect(sendmsg(b, "", at)).toBe(0);
    expect(p.receive(a)).toBe("");
  });
});

describe("IP_RECVERR", () => {
  it("keeps what could not be delivered, with the error and where it came from", () => {
    const b = udp();
    expect(p.setOption(b, IP, abi.IP_RECVERR, 1)).toBe(0);
    expect(recvmsg(b, 256, abi.MSG_ERRQUEUE)).toBe("EAGAIN");
    sendmsg(b, "lost", p.loopback(9));
    expect(p.poll(b) & POLLERR).toBe(POLLERR);
    expect(recvmsg(b, 256, abi.MSG_ERRQUEUE)).toMatchObject({
      text: "lost",
      flags: abi.MSG_ERRQUEUE,
      control: [
        [
          IP,
          abi.IP_RECVERR,
          [111, 0, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, ...LOCALHOST, ...new Uint8Array(8)],
        ],
      ],
    });
    expect(p.poll(b) & POLLERR).toBe(0);
    expect(recvmsg(b)).toBe("EAGAIN");
  });
});

describe("socket options", () => {
  /** What Linux 6.18 says of a new socket, and of it after an option was set to a value. */
  const CASES: [
    kind: "tcp" | "udp" | "udp6" | "unix",
    level: number,
    option: number,
    at: unknown,
    set: number,
    then: unknown,
  ][] = [
    ["udp", IP, abi.IP_PKTINFO, 0, 5, 1],
    ["udp", IP, abi.IP_RECVTOS, 0, -1, 1],
    ["udp", IP, abi.IP_MTU_DISCOVER, 1, 3, 3],
    ["udp", IP, abi.IP_MTU_DISCOVER, 1, 64, "EINVAL"],
    ["udp", IP, abi.IP_TTL, 64, 300, "EINVAL"],
    ["udp", IP, abi.IP_TTL, 64, -1, 64],
    ["udp", IP, abi.IP_TOS, 0, 300, 44],
    ["tcp", IP, abi.IP_TOS, 0, 5, 4],
    ["udp", IP, abi.IP_MINTTL, 0, 300, "EINVAL"],
    ["udp", IP, abi.IP_MTU, "ENOTCONN", 0, "ENOPROTOOPT"],
    ["udp", IP, abi.IP_MULTICAST_IF, 0, 1, "EADDRNOTAVAIL"],
    ["udp", IPV6, abi.IPV6_RECVPKTINFO, "ENOTSUP", 1, "ENOPROTOOPT"],
    ["udp6", IPV6, abi.IPV6_RECVPKTINFO, 0, 1, 1],
    ["udp6", IPV6, abi.IPV6_TCLASS, 0, -1, 0],
    ["udp6", IPV6, abi.IPV6_MULTICAST_IF, 0, 64, "ENODEV"],
    ["udp6", IPV6, abi.IPV6_MULTICAST_LOOP, 1, 2, "EINVAL"],
    ["udp6", IP, abi.IP_RECVTOS, 0, 1, 1],
    ["udp", UDP, abi.UDP_GRO, 0, 1, 1],
    ["udp", UDP, abi.UDP_SEGMENT, 0, 100_000, "EINVAL"],
    ["tcp", UDP, abi.UDP_GRO, "ENOTSUP", 1, "ENOPROTOOPT"],
    ["udp", TCP, abi.TCP_NODELAY, "ENOTSUP", 1, "ENOPROTOOPT"],
    ["tcp", TCP, abi.TCP_USER_TIMEOUT, 0, -1, "EINVAL"],
    ["tcp", TCP, abi.TCP_LINGER2, 60, 300, 120],
    ["tcp", TCP, abi.TCP_FASTOPEN, 0, 100_000, 4096],
    ["tcp", TCP, abi.TCP_QUICKACK, 1, 0, 0],
    ["tcp", TCP, abi.TCP_ULP, 0, 0, "ENOENT"],
    ["tcp", SOCKET, abi.SO_PASSCRED, "ENOTSUP", 1, "ENOTSUP"],
    ["unix", SOCKET, abi.SO_REUSEPORT, 0, 1, "ENOTSUP"],
    ["tcp", SOCKET, abi.SO_MARK, 0, 1, "EPERM"],
    ["tcp", SOCKET, abi.SO_RCVBUFFORCE, "ENOPROTOOPT", 1, "EPERM"],
    ["tcp", SOCKET, abi.SO_RCVLOWAT, 1, 0, 1],
    ["tcp", SOCKET, abi.SO_INCOMING_CPU, -1, 1, 1],
    ["unix", IP, abi.IP_TTL, "ENOTSUP", 1, "ENOTSUP"],
  ];
  const kinds = {
    tcp: (): number => p.socket(),
    udp: (): number => udp(),
    udp6: (): number => udp(abi.AF_INET6),
    unix: (): number => p.socket(abi.AF_UNIX),
  };

  it("begin, change and fail as on Linux", () => {
    for (const [kind, level, option, at, value, then] of CASES) {
      const fd = kinds[kind]();
      const before = p.option(fd, level, option);
      const result = p.setOption(fd, level, option, value);
      const after = result === 0 ? p.option(fd, level, option) : result;
      expect([kind, level, option, before, value, after]).toEqual([kind, level, option, at, value, then]);
    }
  });

  it("name devices and congestion controls", () => {
    const tcp = p.socket();
    const set = (level: number, option: number, text: string): number | string => {
      p.reset();
      return named(p.call("setsockopt", tcp, level, option, p.put(text), text.length));
    };
    const get = (level: number, option: number): string => {
      p.reset();
      const [at, length] = [p.room(64), p.put(ints(64))];
      expect(p.call("getsockopt", tcp, level, option, at, length)).toBe(0);
      return p.text(at, p.memory.readU32(length));
    };
    expect(get(SOCKET, abi.SO_BINDTODEVICE)).toBe("");
    expect(set(SOCKET, abi.SO_BINDTODEVICE, "none")).toBe("ENODEV");
    expect(set(SOCKET, abi.SO_BINDTODEVICE, "lo")).toBe(0);
    expect(get(SOCKET, abi.SO_BINDTODEVICE)).toBe("lo\0");
    expect(set(SOCKET, abi.SO_BINDTODEVICE, "")).toBe(0);
    expect(get(SOCKET, abi.SO_BINDTODEVICE)).toBe("");
    expect(get(TCP, abi.TCP_CONGESTION)).toBe("cubic".padEnd(16, "\0"));
    expect(set(TCP, abi.TCP_CONGESTION, "none")).toBe("ENOENT");
    expect(set(TCP, abi.TCP_CONGESTION, "reno")).toBe(0);
    expect(get(TCP, abi.TCP_CONGESTION)).toBe("reno".padEnd(16, "\0"));
  });

  it("tell a connection's state and how much went over it", () => {
    const [client, server] = p.connection();
    p.send(client, "hello");
    p.do("shutdown", client, abi.SHUT_WR);
    const info = (fd: number): DataView => {
      p.reset();
      const [at, length] = [p.room(256), p.put(ints(256))];
      expect(p.call("getsockopt", fd, TCP, abi.TCP_INFO, at, length)).toBe(0);
      expect(p.memory.readU32(length)).toBe(232);
      return new DataView(p.memory.readBytes(at, 232).buffer);
    };
    // FIN_WAIT2 and CLOSE_WAIT.
    expect([info(client).getUint8(0), info(server).getUint8(0)]).toEqual([5, 8]);
    expect([info(client).getBigUint64(120, true), info(server).getBigUint64(128, true)]).toEqual([5n, 5n]);
  });
});
