import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import { NS_PER_SECOND } from "../time/timespec.ts";
import { InetSocket } from "./inet.ts";
import { ipFromBytes } from "./ip.ts";
import type { Socket } from "./socket.ts";
import { TcpSocket } from "./tcp.ts";
import { UdpSocket } from "./udp.ts";

/** Smallest and largest buffers that SO_SNDBUF and SO_RCVBUF give: SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF, net/core/wmem_max. */
const MIN_SEND = 4608;
const MIN_RECEIVE = 2304;
const MAX_BUFFER = 212_992;

interface Option {
  readonly get?: (socket: Socket) => Uint8Array;
  /** `value` has at least four bytes. */
  readonly set?: (socket: Socket, value: DataView) => void;
}

function int(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

const number = (get: (socket: Socket) => number, set?: (socket: Socket, value: number) => void): Option => ({
  get: (socket) => int(get(socket)),
  ...(set === undefined ? {} : { set: (socket: Socket, view: DataView) => set(socket, view.getInt32(0, true)) }),
});

const flag = (get: (socket: Socket) => boolean, set: (socket: Socket, value: boolean) => void): Option =>
  number(
    (socket) => (get(socket) ? 1 : 0),
    (socket, value) => set(socket, value !== 0),
  );

/** An option that changes nothing here and is only remembered. */
const remembered = (initial: number, check: (value: number) => boolean = () => true): Option & { initial: number } => ({
  initial,
  set: (_socket, view) => {
    if (!check(view.getInt32(0, true))) throw new SyscallError("EINVAL");
  },
});

/** A struct timeval (net/core/sock.c, sock_set_timeout): a negative one is no wait, 0 is for ever. */
function timeout(get: (socket: Socket) => number, set: (socket: Socket, ns: number) => void): Option {
  return {
    get: (socket) => {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      const ns = get(socket) === Number.POSITIVE_INFINITY ? 0 : get(socket);
      view.setBigInt64(0, BigInt(Math.floor(ns / NS_PER_SECOND)), true);
      view.setBigInt64(8, BigInt(Math.floor((ns % NS_PER_SECOND) / 1000)), true);
      return bytes;
    },
    set: (socket, view) => {
      if (view.byteLength < 16) throw new SyscallError("EINVAL");
      const [seconds, microseconds] = [Number(view.getBigInt64(0, true)), Number(view.getBigInt64(8, true))];
      if (microseconds < 0 || microseconds >= 1_000_000) throw new SyscallError("EDOM");
      if (seconds < 0) set(socket, 0);
      else {
        const ns = seconds * NS_PER_SECOND + microseconds * 1000;
        set(socket, ns === 0 ? Number.POSITIVE_INFINITY : ns);
      }
    },
  };
}

const LINGER: Option = {
  get: ({ linger }) => {
    const bytes = new Uint8Array(8);
    bytes.set(int(linger === undefined ? 0 : 1));
    bytes.set(int(linger ?? 0), 4);
    return bytes;
  },
  set: (socket, view) => {
    if (view.byteLength < 8) throw new SyscallError("EINVAL");
    socket.linger = view.getInt32(0, true) === 0 ? undefined : view.getInt32(4, true);
  },
};

/** Linux doubles what it is asked for (socket(7), SO_SNDBUF). */
const buffer = (value: number, min: number): number => Math.max(min, Math.min(value >>> 0, MAX_BUFFER) * 2);

function setSendBuffer(socket: Socket, value: number): void {
  socket.sendBuffer = buffer(value, MIN_SEND);
  if (socket instanceof TcpSocket) socket.sendBufferFixed = true;
  socket.changed();
}

const privileged = (): never => {
  throw new SyscallError("EPERM");
};

const SOCKET_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.SO_DEBUG]: remembered(0),
  [abi.SO_REUSEADDR]: flag(
    (socket) => socket.reuseAddress,
    (socket, on) => {
      socket.reuseAddress = on;
    },
  ),
  [abi.SO_REUSEPORT]: flag(
    (socket) => socket.reusePort,
    (socket, on) => {
      socket.reusePort = on;
    },
  ),
  [abi.SO_TYPE]: number((socket) => socket.type),
  [abi.SO_DOMAIN]: number((socket) => socket.family),
  [abi.SO_PROTOCOL]: number((socket) => socket.protocol),
  [abi.SO_ACCEPTCONN]: number((socket) => (socket.isListening ? 1 : 0)),
  [abi.SO_ERROR]: number((socket) => {
    const { error } = socket;
    socket.error = undefined;
    return error === undefined ? 0 : errno[error];
  }),
  [abi.SO_DONTROUTE]: remembered(0),
  [abi.SO_BROADCAST]: flag(
    (socket) => socket.broadcast,
    (socket, on) => {
      if (socket instanceof UdpSocket) socket.setBroadcast(on);
      else socket.broadcast = on;
    },
  ),
  [abi.SO_SNDBUF]: number((socket) => socket.sendBuffer, setSendBuffer),
  [abi.SO_RCVBUF]: number(
    (socket) => socket.receiveBuffer,
    (socket, value) => {
      socket.receiveBuffer = buffer(value, MIN_RECEIVE);
    },
  ),
  [abi.SO_SNDBUFFORCE]: { set: privileged },
  [abi.SO_RCVBUFFORCE]: { set: privileged },
  [abi.SO_KEEPALIVE]: flag(
    (socket) => socket.keepAlive,
    (socket, on) => {
      socket.keepAlive = on;
    },
  ),
  [abi.SO_OOBINLINE]: remembered(0),
  [abi.SO_PRIORITY]: remembered(0, (value) => value >= 0 && value <= 6),
  [abi.SO_LINGER]: LINGER,
  [abi.SO_PASSCRED]: flag(
    (socket) => socket.passCredentials,
    (socket, on) => {
      socket.passCredentials = on;
    },
  ),
  [abi.SO_PEERCRED]: {
    get: (socket) => {
      const { pid, uid, gid } = socket.peerCredentials();
      const bytes = new Uint8Array(12);
      bytes.set(int(pid));
      bytes.set(int(uid), 4);
      bytes.set(int(gid), 8);
      return bytes;
    },
  },
  [abi.SO_RCVLOWAT]: remembered(1),
  [abi.SO_SNDLOWAT]: number(() => 1),
  [abi.SO_RCVTIMEO]: timeout(
    (socket) => socket.receiveTimeout,
    (socket, ns) => {
      socket.receiveTimeout = ns;
    },
  ),
  [abi.SO_SNDTIMEO]: timeout(
    (socket) => socket.sendTimeout,
    (socket, ns) => {
      socket.sendTimeout = ns;
    },
  ),
  [abi.SO_MARK]: { get: () => int(0), set: privileged },
};

const between = (low: number, high: number) => (value: number) => value >= low && value <= high;

const TCP_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.TCP_NODELAY]: flag(
    (socket) => (socket as TcpSocket).noDelay,
    (socket, on) => (socket as TcpSocket).delay(on),
  ),
  [abi.TCP_MAXSEG]: remembered(536, between(88, 32_767)),
  [abi.TCP_CORK]: remembered(0),
  [abi.TCP_KEEPIDLE]: remembered(7200, between(1, 32_767)),
  [abi.TCP_KEEPINTVL]: remembered(75, between(1, 32_767)),
  [abi.TCP_KEEPCNT]: remembered(9, between(1, 127)),
  [abi.TCP_SYNCNT]: remembered(6, between(1, 127)),
  [abi.TCP_LINGER2]: remembered(60),
  [abi.TCP_DEFER_ACCEPT]: remembered(0),
  [abi.TCP_WINDOW_CLAMP]: remembered(0),
  [abi.TCP_QUICKACK]: remembered(1),
  [abi.TCP_USER_TIMEOUT]: remembered(0, (value) => value >= 0),
  [abi.TCP_FASTOPEN]: remembered(0),
  [abi.TCP_NOTSENT_LOWAT]: remembered(-1),
};

/** struct ip_mreq or ip_mreqn: the group at 0, the interface's address at 4. */
const membership4 =
  (joined: boolean) =>
  (socket: Socket, view: DataView): void => {
    if (view.byteLength < 8) throw new SyscallError("EINVAL");
    if (!(socket instanceof UdpSocket)) throw new SyscallError("EPROTO");
    const address = (at: number): string => ipFromBytes(new Uint8Array(view.buffer, at, 4));
    const via = address(4);
    socket.setMembership(address(0), via === "0.0.0.0" ? undefined : via, joined);
  };

/** struct ipv6_mreq: the group at 0, the interface's number at 16. */
const membership6 =
  (joined: boolean) =>
  (socket: Socket, view: DataView): void => {
    if (view.byteLength < 20) throw new SyscallError("EINVAL");
    if (!(socket instanceof UdpSocket)) throw new SyscallError("EPROTO");
    socket.setMembership(ipFromBytes(new Uint8Array(view.buffer, 0, 16)), undefined, joined);
  };

const MULTICAST_LOOP: Option = flag(
  (socket) => !(socket instanceof UdpSocket) || socket.multicastLoop,
  (socket, on) => {
    if (socket instanceof UdpSocket) socket.multicastLoop = on;
  },
);

const IP_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.IP_TOS]: remembered(0),
  [abi.IP_TTL]: remembered(64, (value) => value === -1 || between(1, 255)(value)),
  [abi.IP_MTU_DISCOVER]: remembered(1, between(0, 5)),
  [abi.IP_RECVERR]: remembered(0),
  [abi.IP_RECVTTL]: remembered(0),
  [abi.IP_RECVTOS]: remembered(0),
  [abi.IP_FREEBIND]: remembered(0),
  [abi.IP_BIND_ADDRESS_NO_PORT]: remembered(0),
  [abi.IP_MULTICAST_IF]: remembered(0),
  [abi.IP_MULTICAST_TTL]: remembered(1, between(-1, 255)),
  [abi.IP_MULTICAST_LOOP]: MULTICAST_LOOP,
  [abi.IP_ADD_MEMBERSHIP]: { set: membership4(true) },
  [abi.IP_DROP_MEMBERSHIP]: { set: membership4(false) },
};

const IPV6_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.IPV6_V6ONLY]: flag(
    (socket) => (socket as InetSocket).v6only,
    (socket, on) => {
      const inet = socket as InetSocket;
      if (inet.local !== undefined) throw new SyscallError("EINVAL");
      inet.v6only = on;
    },
  ),
  [abi.IPV6_UNICAST_HOPS]: remembered(64, between(-1, 255)),
  [abi.IPV6_MULTICAST_IF]: remembered(0),
  [abi.IPV6_MULTICAST_HOPS]: remembered(1, between(-1, 255)),
  [abi.IPV6_MULTICAST_LOOP]: MULTICAST_LOOP,
  [abi.IPV6_ADD_MEMBERSHIP]: { set: membership6(true) },
  [abi.IPV6_DROP_MEMBERSHIP]: { set: membership6(false) },
  [abi.IPV6_MTU_DISCOVER]: remembered(1, between(0, 5)),
  [abi.IPV6_RECVERR]: remembered(0),
  [abi.IPV6_RECVHOPLIMIT]: remembered(0),
  [abi.IPV6_RECVTCLASS]: remembered(0),
  [abi.IPV6_TCLASS]: remembered(0, between(-1, 255)),
};

/** The option of a level. @throws SyscallError ENOPROTOOPT, or EOPNOTSUPP where the family has no such level */
function find(socket: Socket, level: number, name: number): Option {
  let table: Readonly<Record<number, Option>> | undefined;
  if (level === abi.SOL_SOCKET) table = SOCKET_OPTIONS;
  else if (!(socket instanceof InetSocket)) throw new SyscallError("ENOTSUP");
  else if (level === abi.IPPROTO_TCP) table = socket instanceof TcpSocket ? TCP_OPTIONS : undefined;
  else if (level === abi.IPPROTO_IP) table = IP_OPTIONS;
  else if (level === abi.IPPROTO_IPV6) table = socket.family === abi.AF_INET6 ? IPV6_OPTIONS : undefined;
  const option = table?.[name];
  if (option === undefined) throw new SyscallError("ENOPROTOOPT");
  return option;
}

const MAX_OPTION = 256;

/** setsockopt(2). IP options may be given as a single byte (net/ipv4/ip_sockglue.c). */
export function setOption(socket: Socket, level: number, name: number, value: Uint8Array): void {
  const option = find(socket, level, name);
  if (option.set === undefined) throw new SyscallError("ENOPROTOOPT");
  const isByte = level === abi.IPPROTO_IP && value.length >= 1 && value.length < 4;
  const bytes = isByte ? int(value[0]) : value.slice(0, MAX_OPTION);
  if (bytes.length < 4) throw new SyscallError("EINVAL");
  option.set(socket, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if ("initial" in option) socket.remembered.set(`${level}:${name}`, bytes.slice(0, 4));
}

/** getsockopt(2): the value cut to the room there. */
export function getOption(socket: Socket, level: number, name: number): Uint8Array {
  const option = find(socket, level, name);
  if ("initial" in option) return socket.remembered.get(`${level}:${name}`) ?? int(option.initial as number);
  if (option.get === undefined) throw new SyscallError("ENOPROTOOPT");
  return option.get(socket);
}

/** Reads the value of setsockopt. @throws SyscallError EINVAL for a negative length */
export function readOption(memory: GuestMemory, address: number, length: number): Uint8Array {
  if (length < 0) throw new SyscallError("EINVAL");
  return memory.readBytes(address, Math.min(length, MAX_OPTION));
}
