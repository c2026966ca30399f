import { SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import { ETHERNET_MTU, LOOPBACK_MTU } from "./interfaces.ts";
import { between, flag, number, type Option, refused, remembered, toggle } from "./option-kinds.ts";
import type { TcpSocket } from "./tcp.ts";

const INT_MAX = 0x7fff_ffff;
/** Longest name of a congestion control (include/net/tcp.h, TCP_CA_NAME_MAX). */
const CONGESTION_NAME = 16;
/** Linux's default, and the one that every kernel has. What is sent leaves as the host sends it. */
const CONGESTION_CONTROLS = ["cubic", "reno"];
/** sizeof(struct tcp_info) since Linux 5.4. */
const TCP_INFO_SIZE = 232;

const tcp = (socket: unknown): TcpSocket => socket as TcpSocket;

const CONGESTION: Option = {
  size: 1,
  get: (socket) => {
    const bytes = new Uint8Array(CONGESTION_NAME);
    bytes.set(socket.remembered.get("congestion") ?? new TextEncoder().encode(CONGESTION_CONTROLS[0]));
    return bytes;
  },
  set: (socket, view) => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, Math.min(view.byteLength, CONGESTION_NAME - 1));
    const name = new TextDecoder().decode(bytes).replace(/\0.*$/s, "");
    if (!CONGESTION_CONTROLS.includes(name)) throw new SyscallError("ENOENT");
    socket.remembered.set("congestion", new TextEncoder().encode(name));
  },
};

/**
 * struct tcp_info (include/uapi/linux/tcp.h) as far as there is something to tell: state, segment sizes, bytes sent and
 * received. Nothing is lost or sent twice, and what the host's kernel measures it does not tell.
 */
function info(socket: TcpSocket): Uint8Array {
  const bytes = new Uint8Array(TCP_INFO_SIZE);
  const view = new DataView(bytes.buffer);
  const mtu = socket.isWithinComputer ? LOOPBACK_MTU : ETHERNET_MTU;
  const isConnected = socket.linuxState !== 7 && socket.linuxState !== 10;
  const segment = isConnected ? mtu - (socket.family === abi.AF_INET6 ? 60 : 40) - 12 : 536;
  view.setUint8(0, socket.linuxState);
  // Timestamps, selective acknowledgements and window scaling: what all peers of today agree on.
  view.setUint8(5, isConnected ? 7 : 0);
  const words: readonly (readonly [at: number, value: number])[] = [
    [8, isConnected ? 201_000 : 1_000_000],
    [12, isConnected ? 40_000 : 0],
    [16, segment],
    [20, segment],
    [60, isConnected ? mtu : 0],
    [64, Math.floor(socket.receiveBuffer / 2)],
    [76, INT_MAX],
    [80, 10],
    [84, segment],
    [88, 3],
    [96, Math.floor(socket.receiveBuffer / 2)],
    [228, Math.floor(socket.sendBuffer / 2)],
  ];
  for (const [at, value] of words) view.setUint32(at, value, true);
  view.setBigUint64(112, 0xffff_ffff_ffff_ffffn, true);
  view.setBigUint64(120, BigInt(socket.bytesSent), true);
  view.setBigUint64(128, BigInt(socket.bytesReceived), true);
  view.setBigUint64(200, BigInt(socket.bytesSent), true);
  return bytes;
}

export const TCP_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.TCP_NODELAY]: flag(
    (socket) => tcp(socket).noDelay,
    (socket, on) => tcp(socket).delay(on),
  ),
  [abi.TCP_MAXSEG]: remembered(536, (value) => (value === 0 ? 536 : between(88, 32_767)(value))),
  [abi.TCP_CORK]: toggle(),
  [abi.TCP_KEEPIDLE]: remembered(7200, between(1, 32_767)),
  [abi.TCP_KEEPINTVL]: remembered(75, between(1, 32_767)),
  [abi.TCP_KEEPCNT]: remembered(9, between(1, 127)),
  [abi.TCP_SYNCNT]: remembered(6, between(1, 127)),
  // Seconds; negative is no wait, 0 the default (net/ipv4/tcp.c, do_tcp_setsockopt).
  [abi.TCP_LINGER2]: remembered(60, (value) => (value < 0 ? -1 : value === 0 ? 60 : Math.min(value, 120))),
  [abi.TCP_DEFER_ACCEPT]: remembered(0),
  [abi.TCP_WINDOW_CLAMP]: remembered(0, (value) => (value === 0 ? 0 : Math.max(1152, value))),
  [abi.TCP_INFO]: { get: (socket) => info(tcp(socket)) },
  [abi.TCP_QUICKACK]: toggle(1),
  [abi.TCP_CONGESTION]: CONGESTION,
  [abi.TCP_THIN_LINEAR_TIMEOUTS]: remembered(0, between(0, 1)),
  [abi.TCP_THIN_DUPACK]: remembered(0, (value) => between(0, 1)(value) && 0),
  [abi.TCP_USER_TIMEOUT]: remembered(0, between(0, INT_MAX)),
  [abi.TCP_FASTOPEN]: remembered(0, (value) => Math.min(abi.SOMAXCONN, between(0, INT_MAX)(value))),
  [abi.TCP_TIMESTAMP]: {
    ...number((socket) => Math.floor(socket.network.now() / 1e6) | 0),
    ...refused("EPERM"),
  },
  [abi.TCP_NOTSENT_LOWAT]: remembered(0),
  [abi.TCP_SAVE_SYN]: remembered(0, between(0, 2)),
  [abi.TCP_ULP]: { size: 1, get: () => new Uint8Array(0), ...refused("ENOENT") },
  [abi.TCP_FASTOPEN_CONNECT]: remembered(0, between(0, 1)),
  [abi.TCP_FASTOPEN_NO_COOKIE]: remembered(0, between(0, 1)),
  [abi.TCP_INQ]: remembered(0, between(0, 1)),
};
