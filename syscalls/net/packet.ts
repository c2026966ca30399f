import { SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import type { ControlMessage } from "./control.ts";
import { interfaceNumbers } from "./interfaces.ts";
import { type IpAddress, ipFromBytes, ipv4Bytes, ipv6Bytes, isAny, isIpv4, isMulticast } from "./ip.ts";
import type { Network } from "./network.ts";
import type { Socket } from "./socket.ts";

/** What the head of a received packet says, for the control messages of recvmsg. */
export interface PacketInfo {
  /** Where it was sent to. */
  readonly destination: IpAddress;
  /** The address of this computer that an answer comes from: the destination, or for a group the interface's. */
  readonly local: IpAddress;
  readonly port: number;
  /** Time to live, or hop limit. */
  readonly ttl: number;
  /** Type of service, or traffic class. */
  readonly tos: number;
  /** Nanoseconds since 1970 when it came; undefined if nobody wanted to know. */
  readonly time: bigint | undefined;
}

/** What the control messages of sendmsg say of one packet; what they leave out is as the socket's options say. */
export interface PacketOptions {
  readonly source?: IpAddress;
  readonly ttl?: number;
  readonly tos?: number;
  /** Bytes of each datagram that the message is cut into (UDP_SEGMENT). */
  readonly segment?: number;
}

const invalid = (): never => {
  throw new SyscallError("EINVAL");
};

const viewOf = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** An int between bounds. @throws SyscallError EINVAL for another size, or one outside */
function bounded(data: Uint8Array, low: number, high: number): number {
  if (data.length !== 4) invalid();
  const value = viewOf(data).getInt32(0, true);
  return value < low || value > high ? invalid() : value;
}

/** Socket options as control messages (net/core/sock.c, __sock_cmsg_send). */
function checkSocketLevel({ type, data }: ControlMessage, socket: Socket): void {
  switch (type) {
    case abi.SO_MARK:
      if (socket.network.owner.euid !== 0) throw new SyscallError("EPERM");
      if (data.length !== 4) invalid();
      return;
    // They mean something in Unix domain sockets only, and are no error here.
    case abi.SCM_RIGHTS:
    case abi.SCM_CREDENTIALS:
      return;
    default:
      invalid();
  }
}

/**
 * A source address that a control message names.
 * @throws SyscallError if it is none of this computer's: ENETUNREACH (ip_route_output_key), EINVAL for IPv6 and groups
 */
function ownSource(network: Network, ip: IpAddress): { source?: IpAddress } {
  if (isAny(ip)) return {};
  if (isMulticast(ip)) invalid();
  if (!network.isLocal(ip)) throw new SyscallError(isIpv4(ip) ? "ENETUNREACH" : "EINVAL");
  return { source: ip };
}

/** Of SOL_IP (net/ipv4/ip_sockglue.c, ip_cmsg_send). */
function fromIp({ type, data }: ControlMessage, network: Network): PacketOptions {
  switch (type) {
    case abi.IP_PKTINFO:
      // struct in_pktinfo: interface, source address, an address that only recvmsg tells.
      if (data.length !== 12) invalid();
      return ownSource(network, ipFromBytes(data.subarray(4, 8)));
    case abi.IP_TTL:
      return { ttl: bounded(data, 1, 255) };
    case abi.IP_TOS:
      return { tos: data.length === 1 ? data[0] : bounded(data, 0, 255) };
    case abi.IP_RETOPTS:
      return {};
    default:
      return invalid();
  }
}

/** Of SOL_IPV6 (net/ipv6/datagram.c, ip6_datagram_send_ctl). */
function fromIpv6({ type, data }: ControlMessage, network: Network): PacketOptions {
  switch (type) {
    case abi.IPV6_PKTINFO:
      // struct in6_pktinfo: source address, interface.
      if (data.length < 20) invalid();
      return ownSource(network, ipFromBytes(data.subarray(0, 16)));
    case abi.IPV6_HOPLIMIT: {
      const ttl = bounded(data, -1, 255);
      return ttl === -1 ? {} : { ttl };
    }
    case abi.IPV6_TCLASS: {
      const tos = bounded(data, -1, 255);
      return { tos: Math.max(0, tos) };
    }
    case abi.IPV6_DONTFRAG:
      bounded(data, 0, 1);
      return {};
    default:
      return invalid();
  }
}

/**
 * What the control messages of sendmsg on a UDP socket ask for.
 * @param ipv4 is the message sent over IPv4? Then messages of SOL_IPV6 are passed over, all but a source address
 * @throws SyscallError EINVAL, EPERM
 */
export function packetOptions(messages: readonly ControlMessage[], socket: Socket, ipv4: boolean): PacketOptions {
  let options: PacketOptions = {};
  const { network } = socket;
  for (const message of messages) {
    const { level, type, data } = message;
    if (level === abi.SOL_SOCKET) checkSocketLevel(message, socket);
    else if (level === abi.IPPROTO_UDP) {
      if (type !== abi.UDP_SEGMENT || data.length !== 2) invalid();
      options = { ...options, segment: viewOf(data).getUint16(0, true) };
    } else if (level === abi.IPPROTO_IP && ipv4) options = { ...options, ...fromIp(message, network) };
    else if (level === abi.IPPROTO_IPV6 && (!ipv4 || (type === abi.IPV6_PKTINFO && socket.family === abi.AF_INET6))) {
      const told = fromIpv6(message, network);
      if (ipv4 && told.source !== undefined && !isIpv4(told.source)) invalid();
      options = { ...options, ...told };
    }
  }
  return options;
}

const ints = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer);

/** Two words of a struct timeval or timespec. */
function timestamp(ns: bigint, unit: bigint): Uint8Array {
  return new Uint8Array(BigInt64Array.of(ns / 1_000_000_000n, (ns % 1_000_000_000n) / unit).buffer);
}

/** Options that ask for the time, and how a message tells it. SCM_TIMESTAMP… have the numbers of the options. */
const CLOCKS: readonly (readonly [option: number, unit: bigint])[] = [
  [abi.SO_TIMESTAMPNS, 1n],
  [abi.SO_TIMESTAMPNS_NEW, 1n],
  [abi.SO_TIMESTAMP, 1000n],
  [abi.SO_TIMESTAMP_NEW, 1000n],
];

/** Does a socket's reader want to know when messages came? */
export const wantsTime = (socket: Socket): boolean => CLOCKS.some(([option]) => socket.isOn(abi.SOL_SOCKET, option));

/** struct sockaddr_in or sockaddr_in6 of an address. */
export function socketAddress(ip: IpAddress, port: number): Uint8Array {
  const bytes = new Uint8Array(isIpv4(ip) ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, isIpv4(ip) ? abi.AF_INET : abi.AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(isIpv4(ip) ? ipv4Bytes(ip) : ipv6Bytes(ip), isIpv4(ip) ? 4 : 8);
  return bytes;
}

/**
 * The control messages that tell of a received packet what the socket's options ask for, in the order in which Linux writes
 * them (net/core/sock.c, __sock_recv_cmsgs; net/ipv4/ip_sockglue.c, ip_cmsg_recv_offset; net/ipv6/datagram.c).
 */
export function packetMessages(socket: Socket, packet: PacketInfo): ControlMessage[] {
  const { network, family } = socket;
  const messages: ControlMessage[] = [];
  const add = (level: number, type: number, data: Uint8Array): void => void messages.push({ level, type, data });
  const clock = CLOCKS.find(([option]) => socket.isOn(abi.SOL_SOCKET, option));
  if (clock !== undefined) {
    add(abi.SOL_SOCKET, clock[0], timestamp(packet.time ?? network.owner.clock.realtimeNs(), clock[1]));
  }
  const { destination, local, port, ttl, tos } = packet;
  const isOn = (option: number): boolean => socket.isOn(abi.IPPROTO_IP, option);
  const isOn6 = (option: number): boolean => family === abi.AF_INET6 && socket.isOn(abi.IPPROTO_IPV6, option);
  const ipv4 = isIpv4(destination);
  const index = (): number => interfaceOf(network, local);
  if (isOn6(abi.IPV6_RECVPKTINFO)) {
    const info = new Uint8Array(20);
    info.set(ipv6Bytes(destination));
    info.set(ints(index()), 16);
    add(abi.IPPROTO_IPV6, abi.IPV6_PKTINFO, info);
  }
  if (!ipv4) {
    if (isOn6(abi.IPV6_RECVHOPLIMIT)) add(abi.IPPROTO_IPV6, abi.IPV6_HOPLIMIT, ints(ttl));
    if (isOn6(abi.IPV6_RECVTCLASS)) add(abi.IPPROTO_IPV6, abi.IPV6_TCLASS, ints(tos));
    if (isOn6(abi.IPV6_RECVORIGDSTADDR)) {
      add(abi.IPPROTO_IPV6, abi.IPV6_RECVORIGDSTADDR, socketAddress(destination, port));
    }
    return messages;
  }
  if (isOn(abi.IP_PKTINFO)) {
    const info = new Uint8Array(12);
    info.set(ints(index()));
    info.set(ipv4Bytes(local), 4);
    info.set(ipv4Bytes(destination), 8);
    add(abi.IPPROTO_IP, abi.IP_PKTINFO, info);
  }
  if (isOn(abi.IP_RECVTTL)) add(abi.IPPROTO_IP, abi.IP_TTL, ints(ttl));
  if (isOn(abi.IP_RECVTOS)) add(abi.IPPROTO_IP, abi.IP_TOS, Uint8Array.of(tos));
  if (isOn(abi.IP_RECVORIGDSTADDR)) add(abi.IPPROTO_IP, abi.IP_RECVORIGDSTADDR, socketAddress(destination, port));
  return messages;
}

/** The number of the interface that has an address; the loopback interface's if none has. */
function interfaceOf(network: Network, ip: IpAddress): number {
  const addresses = network.interfaces();
  const found = addresses.find((each) => each.ip === ip);
  return found === undefined ? 1 : (interfaceNumbers(addresses).get(found.name) ?? 1);
}
