import { SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import { decodeAddress } from "./address.ts";
import type { InetSocket } from "./inet.ts";
import { ETHERNET_MTU, interfaceNumbers, LOOPBACK_MTU } from "./interfaces.ts";
import { ANY4, canonicalIp, type IpAddress, ipFromBytes, ipv4Bytes, isIpv4, isLoopback } from "./ip.ts";
import { between, flag, number, type Option, refused, remembered, toggle } from "./option-kinds.ts";
import type { Socket } from "./socket.ts";
import { UdpSocket } from "./udp.ts";

/** Default of sysctl net.ipv4.ip_default_ttl and net.ipv6.conf.all.hop_limit. */
const DEFAULT_TTL = 64;

const bytesAt = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, length);

/** An address of the interface with a number, of a family. @throws SyscallError ENODEV */
function addressOfInterface(socket: Socket, index: number, ipv4: boolean): IpAddress {
  const addresses = socket.network.interfaces();
  const numbers = interfaceNumbers(addresses);
  const found = addresses.find((each) => numbers.get(each.name) === index && isIpv4(each.ip) === ipv4);
  if (found === undefined) throw new SyscallError("ENODEV");
  return found.ip;
}

/** The interface of struct ip_mreq or ip_mreqn: by number if there is one, else by address. */
function interfaceOf(socket: Socket, view: DataView, addressAt: number, indexAt: number): IpAddress | undefined {
  const index = view.byteLength >= indexAt + 4 ? view.getInt32(indexAt, true) : 0;
  if (index !== 0) return addressOfInterface(socket, index, true);
  const ip = ipFromBytes(bytesAt(view, addressAt, 4));
  return ip === ANY4 ? undefined : ip;
}

function member(socket: Socket, group: IpAddress, via: IpAddress | undefined, joined: boolean): void {
  if (!(socket instanceof UdpSocket)) throw new SyscallError("EPROTO");
  socket.setMembership(group, via, joined);
}

/** struct ip_mreq or ip_mreqn: the group at 0, the interface's address at 4, its number at 8. */
const membership4 = (joined: boolean): Option => ({
  size: 8,
  set: (socket, view) => member(socket, ipFromBytes(bytesAt(view, 0, 4)), interfaceOf(socket, view, 4, 8), joined),
});

/** struct ipv6_mreq: the group at 0, the interface's number at 16. */
const membership6 = (joined: boolean): Option => ({
  size: 20,
  set: (socket, view) => {
    const index = view.getInt32(16, true);
    const via = index === 0 ? undefined : scoped(socket, index);
    member(socket, ipFromBytes(bytesAt(view, 0, 16)), via, joined);
  },
});

/** struct group_req: the interface's number at 0, a struct sockaddr_storage with the group at 8. */
const groupRequest = (joined: boolean): Option => ({
  size: 136,
  set: (socket, view) => {
    const address = decodeAddress(bytesAt(view, 8, 128));
    if (!("ip" in address)) throw new SyscallError("EADDRNOTAVAIL");
    const index = view.getInt32(0, true);
    const ipv4 = isIpv4(address.ip);
    const via = index === 0 ? undefined : ipv4 ? addressOfInterface(socket, index, true) : scoped(socket, index);
    member(socket, address.ip, via, joined);
  },
});

/** An interface as hosts name it in IPv6: the wildcard address with the interface's name. @throws SyscallError ENODEV */
function scoped(socket: Socket, index: number): string {
  const numbers = interfaceNumbers(socket.network.interfaces());
  const name = [...numbers].find(([, number]) => number === index)?.[0];
  if (name === undefined) throw new SyscallError("ENODEV");
  return `::%${name}`;
}

const MULTICAST_LOOP: Option = flag(
  (socket) => !(socket instanceof UdpSocket) || socket.multicastLoop,
  (socket, on) => {
    if (socket instanceof UdpSocket) socket.multicastLoop = on;
  },
);

/** IPV6_MULTICAST_LOOP takes 0 and 1 only (net/ipv6/ipv6_sockglue.c). */
const MULTICAST_LOOP6: Option = { ...MULTICAST_LOOP, store: between(0, 1) };

/** An in_addr, a struct ip_mreq or ip_mreqn. @throws SyscallError EADDRNOTAVAIL if no interface has the address */
const MULTICAST_IF: Option = {
  get: (socket) => ipv4Bytes((socket instanceof UdpSocket ? socket.multicastInterface : undefined) ?? ANY4),
  set: (socket, view) => {
    if (!(socket instanceof UdpSocket)) throw new SyscallError("EINVAL");
    const via = interfaceOf(socket, view, view.byteLength >= 8 ? 4 : 0, 8);
    const { network } = socket;
    if (via !== undefined && !network.interfaces().some((each) => canonicalIp(each.ip) === via)) {
      throw new SyscallError("EADDRNOTAVAIL");
    }
    socket.multicastInterface = via;
    socket.configure();
  },
};

/** IPV6_MULTICAST_IF: the number of an interface. */
const MULTICAST_IF6: Option = {
  initial: 0,
  store: (index, socket) => {
    const via = index === 0 ? undefined : scoped(socket, index);
    if (socket instanceof UdpSocket) {
      socket.multicastInterface = via;
      socket.configure();
    }
    return index;
  },
};

/** What an interface takes, of a connected socket: IP_MTU. */
const MTU: Option = number((socket) => {
  const { remote } = socket as InetSocket;
  if (remote === undefined) throw new SyscallError("ENOTCONN");
  return isLoopback(remote.ip) || socket.network.isLocal(remote.ip) ? LOOPBACK_MTU : ETHERNET_MTU;
});

/** A value that the socket outside is told as well. */
const outside = (option: Option): Option => ({
  ...option,
  set: (socket) => {
    if (socket instanceof UdpSocket) queueMicrotask(() => socket.configure());
  },
});

/** IP_TOS: of TCP, the two bits of ECN are the kernel's (net/ipv4/ip_sockglue.c, __ip_sock_set_tos). */
const TOS = remembered(0, (value, socket) => value & (socket.type === abi.SOCK_STREAM ? 0xfc : 0xff));

export const IP_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.IP_TOS]: TOS,
  [abi.IP_TTL]: outside(remembered(DEFAULT_TTL, between(1, 255, DEFAULT_TTL))),
  [abi.IP_RECVOPTS]: toggle(),
  [abi.IP_RETOPTS]: toggle(),
  [abi.IP_PKTINFO]: toggle(),
  [abi.IP_MTU_DISCOVER]: remembered(1, between(0, 5)),
  [abi.IP_MTU]: MTU,
  [abi.IP_RECVERR]: toggle(),
  [abi.IP_RECVTTL]: toggle(),
  [abi.IP_RECVTOS]: toggle(),
  [abi.IP_RECVORIGDSTADDR]: toggle(),
  [abi.IP_RECVFRAGSIZE]: toggle(),
  [abi.IP_RECVERR_RFC4884]: remembered(0, between(0, 1)),
  [abi.IP_FREEBIND]: toggle(),
  [abi.IP_TRANSPARENT]: refused("EPERM"),
  [abi.IP_MINTTL]: remembered(0, between(0, 255)),
  [abi.IP_BIND_ADDRESS_NO_PORT]: toggle(),
  [abi.IP_MULTICAST_IF]: MULTICAST_IF,
  [abi.IP_MULTICAST_TTL]: outside(remembered(1, between(0, 255, 1))),
  [abi.IP_MULTICAST_LOOP]: MULTICAST_LOOP,
  [abi.IP_MULTICAST_ALL]: remembered(1, between(0, 1)),
  [abi.IP_ADD_MEMBERSHIP]: membership4(true),
  [abi.IP_DROP_MEMBERSHIP]: membership4(false),
  [abi.MCAST_JOIN_GROUP]: groupRequest(true),
  [abi.MCAST_LEAVE_GROUP]: groupRequest(false),
};

export const IPV6_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.IPV6_V6ONLY]: flag(
    (socket) => (socket as InetSocket).v6only,
    (socket, on) => {
      const inet = socket as InetSocket;
      if (inet.local !== undefined) throw new SyscallError("EINVAL");
      inet.v6only = on;
    },
  ),
  [abi.IPV6_UNICAST_HOPS]: outside(remembered(DEFAULT_TTL, between(0, 255, DEFAULT_TTL))),
  [abi.IPV6_MULTICAST_IF]: MULTICAST_IF6,
  [abi.IPV6_MULTICAST_HOPS]: outside(remembered(1, between(0, 255, 1))),
  [abi.IPV6_MULTICAST_LOOP]: MULTICAST_LOOP6,
  [abi.IPV6_MULTICAST_ALL]: toggle(1),
  [abi.IPV6_ADD_MEMBERSHIP]: membership6(true),
  [abi.IPV6_DROP_MEMBERSHIP]: membership6(false),
  [abi.MCAST_JOIN_GROUP]: groupRequest(true),
  [abi.MCAST_LEAVE_GROUP]: groupRequest(false),
  [abi.IPV6_MTU_DISCOVER]: remembered(1, between(0, 5)),
  [abi.IPV6_MTU]: MTU,
  [abi.IPV6_RECVERR]: toggle(),
  [abi.IPV6_RECVERR_RFC4884]: remembered(0, between(0, 1)),
  [abi.IPV6_RECVPKTINFO]: toggle(),
  [abi.IPV6_RECVHOPLIMIT]: toggle(),
  [abi.IPV6_RECVRTHDR]: toggle(),
  [abi.IPV6_RECVHOPOPTS]: toggle(),
  [abi.IPV6_RECVDSTOPTS]: toggle(),
  [abi.IPV6_RECVPATHMTU]: toggle(),
  [abi.IPV6_DONTFRAG]: toggle(),
  [abi.IPV6_RECVTCLASS]: toggle(),
  [abi.IPV6_TCLASS]: remembered(0, between(0, 255, 0)),
  [abi.IPV6_AUTOFLOWLABEL]: toggle(1),
  [abi.IPV6_MINHOPCOUNT]: remembered(0, between(0, 255)),
  [abi.IPV6_RECVORIGDSTADDR]: toggle(),
  [abi.IPV6_TRANSPARENT]: refused("EPERM"),
  [abi.IPV6_RECVFRAGSIZE]: toggle(),
  [abi.IPV6_FREEBIND]: toggle(),
};

/** Options of UDP. Messages that arrive are never joined, which UDP_GRO allows and does not ask for. */
export const UDP_OPTIONS: Readonly<Record<number, Option>> = {
  [abi.UDP_NO_CHECK6_TX]: toggle(),
  [abi.UDP_NO_CHECK6_RX]: toggle(),
  [abi.UDP_SEGMENT]: remembered(0, between(0, 0xffff)),
  [abi.UDP_GRO]: toggle(),
};
