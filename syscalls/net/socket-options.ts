import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import { bytesToPath } from "../files/path.ts";
import { NS_PER_SECOND } from "../time/timespec.ts";
import { encodeAddress } from "./address.ts";
import { InetSocket } from "./inet.ts";
import { between, flag, int, number, type Option, privileged, refused, remembered, toggle } from "./option-kinds.ts";
import type { Socket } from "./socket.ts";
import { TcpSocket } from "./tcp.ts";
import { UdpSocket } from "./udp.ts";

/** Smallest and largest buffers that SO_SNDBUF and SO_RCVBUF give: SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF, net/core/wmem_max. */
const MIN_SEND = 4608;
const MIN_RECEIVE = 2304;
const MAX_BUFFER = 212_992;
const INT_MAX = 0x7fff_ffff;
/** Longest name of an interface, with its NUL (include/uapi/linux/if.h). */
const IFNAMSIZ = 16;

/** A struct timeval (net/core/sock.c, sock_set_timeout): a negative one is no wait, 0 is for ever. */
function timeout(get: (socket: Socket) => number, set: (socket: Socket, ns: number) => void): Option {
  return {
    size: 16,
    get: (socket) => {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      const ns = get(socket) === Number.POSITIVE_INFINITY ? 0 : get(socket);
      view.setBigInt64(0, BigInt(Math.floor(ns / NS_PER_SECOND)), true);
      view.setBigInt64(8, BigInt(Math.floor((ns % NS_PER_SECOND) / 1000)), true);
      return bytes;
    },
    set: (socket, view) => {
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

const RECEIVE_TIMEOUT = timeout(
  (socket) => socket.receiveTimeout,
  (socket, ns) => {
    socket.receiveTimeout = ns;
  },
);

const SEND_TIMEOUT = timeout(
  (socket) => socket.sendTimeout,
  (socket, ns) => {
    socket.sendTimeout = ns;
  },
);

const LINGER: Option = {
  size: 8,
  get: ({ linger }) => {
    const bytes = new Uint8Array(8);
    bytes.set(int(linger === undefined ? 0 : 1));
    bytes.set(int(linger ?? 0), 4);
    return bytes;
  },
  set: (socket, view) => {
    socket.linger = view.getInt32(0, true) === 0 ? undefined : view.getInt32(4, true);
  },
};

/** Linux doubles what it is asked for (socket(7), SO_SNDBUF); the superuser may ask for more than the limit. */
const buffer = (value: number, min: number, max = MAX_BUFFER): number =>
  Math.max(min, Math.min(value < 0 ? max : value, max) * 2);

function setSendBuffer(socket: Socket, size: number): void {
  socket.sendBuffer = size;
  if (socket instanceof TcpSocket) socket.sendBufferFixed = true;
  socket.changed();
}

/** SO_SNDBUFFORCE and SO_RCVBUFFORCE: for the superuser. */
const forced = (set: (socket: Socket, value: number) => void): Option => ({
  set: (socket, view) => {
    if (socket.network.owner.euid !== 0) throw new SyscallError("EPERM");
    set(socket, Math.max(0, view.getInt32(0, true)));
  },
});

/** Options that time messages: one of them is on, or none (net/core/sock.c, __sock_set_timestamps). */
const TIMES = [abi.SO_TIMESTAMP, abi.SO_TIMESTAMPNS, abi.SO_TIMESTAMP_NEW, abi.SO_TIMESTAMPNS_NEW];
const TIMESTAMP: Option = {
  ...toggle(),
  set: (socket) => {
    for (const option of TIMES) socket.remembered.delete(`${abi.SOL_SOCKET}:${option}`);
  },
};

/** The name of an interface; an empty one is any. Packets go where they would go anyway. */
const DEVICE: Option = {
  size: 0,
  get: (socket) => socket.remembered.get("device") ?? new Uint8Array(0),
  set: (socket, view) => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, Math.min(view.byteLength, IFNAMSIZ - 1));
    const end = bytes.indexOf(0);
    const name = bytes.slice(0, end < 0 ? bytes.length : end);
    if (name.length === 0) {
      socket.remembered.delete("device");
      return;
    }
    const text = bytesToPath(name);
    if (!socket.network.interfaces().some((each) => each.name === text)) throw new SyscallError("ENODEV");
    socket.remembered.set("device", Uint8Array.of(...name, 0));
  },
};

const ofUnix = (option: Option): Option => {
  const check = (socket: Socket): void => {
    if (socket instanceof InetSocket) throw new SyscallError("ENOTSUP");
  };
  return {
    get: (socket) => {
      check(socket);
      return option.get?.(socket) ?? new Uint8Array(0);
    },
    set: (socket, view) => {
      check(socket);
      option.set?.(socket, view);
    },
  };
};

/** struct { rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued, optmem, backlog, drops } (sock_diag.h). */
const memoryInfo = (socket: Socket): Uint8Array =>
  new Uint8Array(Uint32Array.of(socket.buffered, socket.receiveBuffer, 0, socket.sendBuffer, 0, 0, 0, 0, 0).buffer);

export const SOCKET_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.SO_DEBUG]: remembered(0, (value, socket) => {
    if (value !== 0 && socket.network.owner.euid !== 0) throw new SyscallError("EACCES");
    return value === 0 ? 0 : 1;
  }),
  [abi.SO_REUSEADDR]: flag(
    (socket) => socket.reuseAddress,
    (socket, on) => {
      socket.reuseAddress = on;
    },
  ),
  [abi.SO_REUSEPORT]: flag(
    (socket) => socket.reusePort,
    (socket, on) => {
      if (on && !(socket instanceof InetSocket)) throw new SyscallError("ENOTSUP");
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
  [abi.SO_DONTROUTE]: toggle(),
  [abi.SO_BROADCAST]: flag(
    (socket) => socket.broadcast,
    (socket, on) => {
      if (socket instanceof UdpSocket) socket.setBroadcast(on);
      else socket.broadcast = on;
    },
  ),
  [abi.SO_SNDBUF]: number(
    (socket) => socket.sendBuffer,
    (socket, value) => setSendBuffer(socket, buffer(value, MIN_SEND)),
  ),
  [abi.SO_RCVBUF]: number(
    (socket) => socket.receiveBuffer,
    (socket, value) => {
      socket.receiveBuffer = buffer(value, MIN_RECEIVE);
    },
  ),
  [abi.SO_SNDBUFFORCE]: forced((socket, value) => setSendBuffer(socket, buffer(value, MIN_SEND, INT_MAX >> 1))),
  [abi.SO_RCVBUFFORCE]: forced((socket, value) => {
    socket.receiveBuffer = buffer(value, MIN_RECEIVE, INT_MAX >> 1);
  }),
  [abi.SO_KEEPALIVE]: flag(
    (socket) => socket.keepAlive,
    (socket, on) => {
      socket.keepAlive = on;
    },
  ),
  [abi.SO_OOBINLINE]: toggle(),
  [abi.SO_NO_CHECK]: toggle(),
  [abi.SO_PRIORITY]: remembered(0, (value, socket) => {
    if ((value < 0 || value > 6) && socket.network.owner.euid !== 0) throw new SyscallError("EPERM");
    return value;
  }),
  [abi.SO_LINGER]: LINGER,
  // Obsolete: taken, and without effect.
  [abi.SO_BSDCOMPAT]: number(
    () => 0,
    () => {},
  ),
  [abi.SO_PASSCRED]: ofUnix(
    flag(
      (socket) => socket.passCredentials,
      (socket, on) => {
        socket.passCredentials = on;
      },
    ),
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
  [abi.SO_PEERGROUPS]: {
    get: (socket) => {
      if (socket.peerCredentials().pid === 0) throw new SyscallError("ENODATA");
      return int(socket.peerCredentials().gid);
    },
  },
  [abi.SO_PEERNAME]: { get: (socket) => encodeAddress(socket.peerAddress()) },
  [abi.SO_RCVLOWAT]: remembered(1, (value) => (value < 0 ? INT_MAX : Math.max(1, value))),
  [abi.SO_SNDLOWAT]: number(() => 1),
  [abi.SO_RCVTIMEO]: RECEIVE_TIMEOUT,
  [abi.SO_SNDTIMEO]: SEND_TIMEOUT,
  [abi.SO_RCVTIMEO_NEW]: RECEIVE_TIMEOUT,
  [abi.SO_SNDTIMEO_NEW]: SEND_TIMEOUT,
  [abi.SO_BINDTODEVICE]: DEVICE,
  [abi.SO_DETACH_FILTER]: refused("ENOENT"),
  [abi.SO_LOCK_FILTER]: toggle(),
  [abi.SO_TIMESTAMP]: TIMESTAMP,
  [abi.SO_TIMESTAMPNS]: TIMESTAMP,
  [abi.SO_TIMESTAMP_NEW]: TIMESTAMP,
  [abi.SO_TIMESTAMPNS_NEW]: TIMESTAMP,
  [abi.SO_MARK]: remembered(
    0,
    privileged((value) => value),
  ),
  [abi.SO_RXQ_OVFL]: toggle(),
  [abi.SO_SELECT_ERR_QUEUE]: toggle(),
  [abi.SO_BUSY_POLL]: remembered(0, between(0, INT_MAX)),
  [abi.SO_PREFER_BUSY_POLL]: toggle(),
  [abi.SO_INCOMING_CPU]: remembered(-1),
  [abi.SO_INCOMING_NAPI_ID]: number(() => 0),
  [abi.SO_COOKIE]: { get: (socket) => new Uint8Array(BigUint64Array.of(socket.inode).buffer) },
  [abi.SO_MEMINFO]: { get: memoryInfo },
  [abi.SO_BUF_LOCK]: remembered(0, between(0, 3)),
};
