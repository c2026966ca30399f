import { AF_INET, AF_INET6 } from "../abi/socket.ts";
import type { InetSocket } from "../net/inet.ts";
import { type IpAddress, ipv6Bytes } from "../net/ip.ts";

import { Socket } from "../net/socket.ts";
import { TcpSocket } from "../net/tcp.ts";
import { UdpSocket } from "../net/udp.ts";
import { UnixSocket } from "../net/unix.ts";
import type { Process } from "../process.ts";

/** States of sockets (include/net/tcp_states.h; include/uapi/linux/net.h, socket_state). */
const TCP_ESTABLISHED = 1;
const TCP_CLOSE = 7;
const SS_UNCONNECTED = 1;
const SS_CONNECTED = 3;
/** A Unix socket that listens (include/linux/net.h, __SO_ACCEPTCON). */
const SO_ACCEPTCON = 0x1_0000;

const hex = (value: number, width: number): string => value.toString(16).toUpperCase().padStart(width, "0");
/** Kernel addresses, as those see them who may not. */
const POINTER = "0".repeat(16);

/** The machine's sockets: those that descriptors lead to, each once. */
function socketsOf(process: Process): Set<Socket> {
  const found = new Set<Socket>();
  for (const [, { description }] of process.files.table.entries()) {
    if (description instanceof Socket) found.add(description);
  }
  return found;
}

function* inetSockets<T extends InetSocket>(
  process: Process,
  kind: abstract new (...args: never[]) => T,
  family: number,
): Iterable<T> {
  for (const socket of socketsOf(process)) if (socket instanceof kind && socket.family === family) yield socket;
}

/** An address as the kernel prints it: its 32-bit words in the machine's byte order, and the port. */
function endpoint(family: number, at: { ip: IpAddress; port: number } | undefined): string {
  if (at === undefined) return `${"0".repeat(family === AF_INET6 ? 32 : 8)}:0000`;
  const bytes = ipv6Bytes(at.ip);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const words = family === AF_INET6 ? [0, 4, 8, 12] : [12];
  return `${words.map((offset) => hex(view.getUint32(offset, true), 8)).join("")}:${hex(at.port, 4)}`;
}

/** What the lines of /proc/net/tcp, udp and their kin begin with. */
function common(process: Process, socket: InetSocket, state: number, received: number): string {
  const { family, local, remote, inode } = socket;
  const queues = `${hex(0, 8)}:${hex(received, 8)}`;
  const owner = `${String(process.uid).padStart(5)} ${"0".padStart(8)} ${inode}`;
  return `${endpoint(family, local)} ${endpoint(family, remote)} ${hex(state, 2)} ${queues} 00:00000000 00000000 ${owner}`;
}

const COLUMNS6 = "local_address                         remote_address                        ";
const COLUMNS = "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

/** /proc/net/tcp and tcp6 (net/ipv4/tcp_ipv4.c, tcp4_seq_show; net/ipv6/tcp_ipv6.c, tcp6_seq_show). */
export function tcpText(process: Process, family: number): string {
  // Lines for IPv4 are filled up with spaces to one width (TMPSZ).
  const line = (text: string): string => `${family === AF_INET ? text.padEnd(149) : text}\n`;
  const columns = family === AF_INET ? "local_address rem_address   " : COLUMNS6;
  let text = line(`  sl  ${columns}${COLUMNS}`);
  let slot = 0;
  for (const socket of inetSockets(process, TcpSocket, family)) {
    // The kernel lists what has a place in its tables: sockets that listen, or that have or had a connection.
    const state = socket.linuxState;
    if (state === TCP_CLOSE) continue;
    const received = socket.isListening ? 0 : socket.buffered;
    const timing = socket.isListening ? "100 0 0 10 0" : "20 4 0 10 -1";
    text += line(`${String(slot++).padStart(4)}: ${common(process, socket, state, received)} 1 ${POINTER} ${timing}`);
  }
  return text;
}

/** /proc/net/udp and udp6 (net/ipv4/udp.c, udp4_seq_show; net/ipv6/datagram.c, __ip6_dgram_sock_seq_show). */
export function udpText(process: Process, family: number): string {
  const line = (text: string): string => `${family === AF_INET ? text.padEnd(127) : text}\n`;
  const columns = family === AF_INET ? "   sl  local_address rem_address   " : `  sl  ${COLUMNS6}`;
  let text = line(`${columns}${COLUMNS} ref pointer drops`);
  for (const socket of inetSockets(process, UdpSocket, family)) {
    if (socket.local === undefined) continue;
    const state = socket.remote === undefined ? TCP_CLOSE : TCP_ESTABLISHED;
    // The number is that of the socket's place in a hash table, which goes by the port.
    const slot = String(socket.local.port).padStart(5);
    text += line(`${slot}: ${common(process, socket, state, socket.buffered)} 2 ${POINTER} 0`);
  }
  return text;
}

/** /proc/net/unix (net/unix/af_unix.c, unix_seq_show). */
export function unixText(process: Process): string {
  let text = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  for (const socket of socketsOf(process)) {
    if (!(socket instanceof UnixSocket)) continue;
    const { path } = socket.localAddress() as { path?: string };
    const flags = socket.isListening ? SO_ACCEPTCON : 0;
    const state = socket.isConnected ? SS_CONNECTED : SS_UNCONNECTED;
    const count = socket.isConnected ? 3 : 2;
    const numbers = `${hex(count, 8)} ${hex(0, 8)} ${hex(flags, 8)} ${hex(socket.type, 4)} ${hex(state, 2)}`;
    const name = path === undefined || path === "" ? "" : ` ${path.replaceAll("\0", "@")}`;
    text += `${POINTER}: ${numbers} ${String(socket.inode).padStart(5)}${name}\n`;
  }
  return text;
}

/** /proc/net/raw and raw6 (net/ipv4/raw.c, raw_seq_show): the machine has no raw sockets. */
export function rawText(family: number): string {
  const columns = family === AF_INET ? "local_address rem_address   " : COLUMNS6;
  return `  sl  ${columns}${COLUMNS} ref pointer drops\n`;
}

const count = (sockets: Iterable<unknown>): number => [...sockets].length;

/** /proc/net/sockstat (net/ipv4/proc.c, sockstat_seq_show). */
export function sockstatText(process: Process): string {
  const tcp = count(inetSockets(process, TcpSocket, AF_INET));
  const udp = count(inetSockets(process, UdpSocket, AF_INET));
  const alloc = tcp + count(inetSockets(process, TcpSocket, AF_INET6));
  return [
    `sockets: used ${socketsOf(process).size}\n`,
    `TCP: inuse ${tcp} orphan 0 tw 0 alloc ${alloc} mem 0\n`,
    `UDP: inuse ${udp} mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n`,
  ].join("");
}

/** /proc/net/sockstat6 (net/ipv6/proc.c, sockstat6_seq_show). */
export function sockstat6Text(process: Process): string {
  const tcp = count(inetSockets(process, TcpSocket, AF_INET6));
  const udp = count(inetSockets(process, UdpSocket, AF_INET6));
  return `TCP6: inuse ${tcp}\nUDP6: inuse ${udp}\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n`;
}

/** Connections that are open now (tcpCurrEstab). */
export function connectionCount(process: Process): number {
  return count([...socketsOf(process)].filter((each) => each instanceof TcpSocket && each.linuxState === 1));
}
