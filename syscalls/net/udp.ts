import type { HostDatagram } from "../../host/network.ts";
import { type ErrnoName, SyscallError } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import * as abi from "../abi/socket.ts";
import type { IoVector } from "../files/io-vector.ts";
import { type Endpoint, inetAddress, type SocketAddress } from "./address.ts";
import type { ControlMessage } from "./control.ts";
import { type Datagram, DatagramQueue } from "./datagram-queue.ts";
import { ErrorQueue } from "./error-queue.ts";
import { type InetFamily, InetSocket } from "./inet.ts";
import { sourceAddress } from "./interfaces.ts";
import { canonicalIp, isAny, isIpv4, isMulticast, LOOPBACK4, LOOPBACK6 } from "./ip.ts";
import type { Network } from "./network.ts";
import { type PacketInfo, type PacketOptions, packetMessages, packetOptions, wantsTime } from "./packet.ts";
import { RCV_SHUTDOWN, type Received, SEND_SHUTDOWN, type SendOptions, SHUTDOWN_MASK } from "./socket.ts";

/** net/core/rmem_default and wmem_default. */
const DEFAULT_BUFFERS = { send: 212_992, receive: 212_992 };
/** Longest payload: 65,535 without the headers of UDP (8) and IPv4 (20); IPv6's is not counted. */
const MAX_PAYLOAD = 65_507;
const MAX_PAYLOAD6 = 65_527;
/** Time to live of a packet that no option says otherwise of (net/ipv4/ip_default_ttl). */
const DEFAULT_TTL = 64;

/** What a packet's head says, for the receiver. */
type Head = Pick<PacketInfo, "destination" | "local" | "ttl" | "tos">;

/** A UDP socket (udp(7); Linux: net/ipv4/udp.c). */
export class UdpSocket extends InetSocket {
  readonly #received = new DatagramQueue<Datagram>();
  /** The socket's counterpart outside, made when it is needed. */
  #outside: HostDatagram | undefined;
  readonly #errors = new ErrorQueue();
  readonly #groups = new Set<string>();
  #multicastLoop = true;

  constructor(network: Network, family: InetFamily, flags: number) {
    super(network, { family, type: abi.SOCK_DGRAM, protocol: abi.IPPROTO_UDP, flags }, DEFAULT_BUFFERS);
  }

  protected override enter(): void {
    this.network.udp.add(this);
  }

  protected override leave(): void {
    this.network.udp.remove(this);
  }

  protected override isTaken(ip: string, port: number): boolean {
    return this.network.udp.isTaken(this, ip, port);
  }

  protected override ephemeralPort(): number {
    return this.network.udp.ephemeral();
  }

  protected override reserve(at: Endpoint): Promise<Endpoint> {
    // What is bound to a group's address receives what is sent there; hosts bind to all addresses for that.
    return this.#open().bind(isMulticast(at.ip) ? { ...at, ip: this.wildcard } : at);
  }

  /** The socket outside; made with the options of now. */
  #open(): HostDatagram {
    const { host } = this.network;
    if (host === undefined) throw new SyscallError("ENETUNREACH");
    if (this.#outside !== undefined) return this.#outside;
    const { v6only, reuseAddress, reusePort } = this;
    const outside = host.datagram({ ipv6: this.family === abi.AF_INET6, v6only, reuseAddress, reusePort });
    outside.start({
      message: (bytes, from) => {
        this.deliver(bytes, from, this.#headFromHost(from));
        this.network.owner.wakeUp();
      },
      failed: (error) => {
        // The host does not tell which datagram it was.
        if (this.remote !== undefined && this.#reports(this.remote)) {
          this.#errors.push({ error, bytes: new Uint8Array(0), to: this.remote });
        }
        this.#failed(error);
      },
    });
    if (this.broadcast) outside.setBroadcast(true);
    this.#outside = outside;
    this.configure();
    return outside;
  }

  /** Tells the socket outside what options have been set. */
  configure(): void {
    const { remembered } = this;
    const value = (option: number, option6: number): number | undefined => {
      const [level, name] = this.family === abi.AF_INET6 ? [abi.IPPROTO_IPV6, option6] : [abi.IPPROTO_IP, option];
      const set = remembered.has(`${level}:${name}`) ? this.intOption(level, name, -1) : -1;
      return set > 0 ? set : undefined;
    };
    this.#outside?.configure({
      ttl: value(abi.IP_TTL, abi.IPV6_UNICAST_HOPS),
      multicastTtl: value(abi.IP_MULTICAST_TTL, abi.IPV6_MULTICAST_HOPS),
      multicastLoop: this.#multicastLoop,
      multicastInterface: this.multicastInterface,
    });
  }

  /** The address of the interface that messages to groups leave by, if one was chosen (IP_MULTICAST_IF). */
  multicastInterface: string | undefined;

  /** Do messages to groups come back to this computer (IP_MULTICAST_LOOP)? */
  get multicastLoop(): boolean {
    return this.#multicastLoop;
  }

  set multicastLoop(on: boolean) {
    this.#multicastLoop = on;
    this.configure();
  }

  /**
   * What can be told of a packet from the host, which does not tell its head: at a wildcard address the destination is the
   * address that the sender is reached from, which it is but for hosts with several addresses in a network.
   */
  #headFromHost(from: Endpoint): Head {
    const local = this.local === undefined || isAny(this.local.ip) ? this.#sourceFor(from.ip) : this.local.ip;
    const own = isMulticast(local) ? this.#sourceFor(from.ip) : local;
    return { destination: local, local: own, ttl: DEFAULT_TTL, tos: 0 };
  }

  /** Are errors of what is sent there kept (IP_RECVERR)? */
  #reports(to: Endpoint): boolean {
    if (isIpv4(to.ip)) return this.isOn(abi.IPPROTO_IP, abi.IP_RECVERR);
    return this.isOn(abi.IPPROTO_IPV6, abi.IPV6_RECVERR);
  }

  #failed(error: ErrnoName): void {
    if (this.closed) return;
    this.error = error;
    this.changed();
    this.network.owner.wakeUp();
  }

  /** SO_BROADCAST. */
  setBroadcast(on: boolean): void {
    this.broadcast = on;
    this.#outside?.setBroadcast(on);
  }

  /** IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP. @throws SyscallError EADDRINUSE, EADDRNOTAVAIL, EINVAL */
  setMembership(group: string, interfaceIp: string | undefined, joined: boolean): void {
    if (!isMulticast(group)) throw new SyscallError("EINVAL");
    if (joined === this.#groups.has(group)) throw new SyscallError(joined ? "EADDRINUSE" : "EADDRNOTAVAIL");
    if (this.network.host !== undefined) this.#open().setMembership(group, interfaceIp, joined);
    if (joined) this.#groups.add(group);
    else this.#groups.delete(group);
  }

  /** Size of the next message (udp(7), FIONREAD). */
  override get buffered(): number {
    return this.#received.first?.bytes.length ?? 0;
  }

  override connect(address: SocketAddress): number {
    if (address.family === abi.AF_UNSPEC) {
      this.remote = undefined;
      return 0;
    }
    const to = this.target(this.own(address));
    if (!this.network.isLocal(to.ip) && this.network.host === undefined) throw new SyscallError("ENETUNREACH");
    const ip = this.#sourceFor(to.ip);
    if (this.local === undefined) this.autoBind(ip);
    else if (isAny(this.local.ip)) this.setLocal({ ...this.local, ip });
    this.remote = to;
    return 0;
  }

  /** The local address from which a destination is reached. */
  #sourceFor(ip: string): string {
    const found = sourceAddress(this.network.interfaces(), ip);
    return found === undefined ? (isIpv4(ip) ? LOOPBACK4 : LOOPBACK6) : canonicalIp(found.ip);
  }

  override send(from: IoVector, options: SendOptions): number {
    if (options.flags & abi.MSG_OOB) throw new SyscallError("ENOTSUP");
    const length = from.remaining;
    const limit = this.family === abi.AF_INET6 ? MAX_PAYLOAD6 : MAX_PAYLOAD;
    if (length > limit) throw new SyscallError("EMSGSIZE");
    let to = this.remote;
    if (options.to !== undefined && options.to.family !== abi.AF_UNSPEC) {
      const own = this.#destination(options.to);
      if (own.port === 0) throw new SyscallError("EINVAL");
      to = this.target(own);
    }
    if (to === undefined) throw new SyscallError("EDESTADDRREQ");
    const packet = options.control.length === 0 ? {} : packetOptions(options.control, this, isIpv4(to.ip));
    const segment = packet.segment ?? this.intOption(abi.IPPROTO_UDP, abi.UDP_SEGMENT, 0);
    if (segment > 0 && length > segment * abi.UDP_MAX_SEGMENTS) throw new SyscallError("EINVAL");
    this.throwError();
    if (this.shutdownMask & SEND_SHUTDOWN) throw new SyscallError("EPIPE");
    if (to.ip === "255.255.255.255" && !this.broadcast) throw new SyscallError("EACCES");
    const isLocal = this.network.isLocal(to.ip);
    if (!isLocal && !isMulticast(to.ip) && this.network.host === undefined) throw new SyscallError("ENETUNREACH");
    const bytes = from.take(length);
    if (bytes.length < length) from.fault();
    this.autoBind(this.wildcard);
    // Segmentation offload: the message is many datagrams, all but the last of the same size (udp(7), UDP_SEGMENT).
    const size = segment > 0 ? segment : Math.max(1, length);
    let at = 0;
    do {
      this.#route(bytes.subarray(at, at + size), to, isLocal, packet);
      at += size;
    } while (at < length);
    return length;
  }

  /** What the head of a packet to `to` says, as the receiver is told. */
  #headFor(to: Endpoint, source: Endpoint, packet: PacketOptions): Head {
    const ipv4 = isIpv4(to.ip);
    const group = isMulticast(to.ip);
    const names = ipv4 ? [abi.IP_TTL, abi.IP_MULTICAST_TTL] : [abi.IPV6_UNICAST_HOPS, abi.IPV6_MULTICAST_HOPS];
    const level = ipv4 ? abi.IPPROTO_IP : abi.IPPROTO_IPV6;
    const ttl = packet.ttl ?? this.intOption(level, names[group ? 1 : 0], -1);
    return {
      destination: to.ip,
      local: group ? source.ip : to.ip,
      ttl: ttl >= 0 ? ttl : group ? 1 : DEFAULT_TTL,
      tos: (packet.tos ?? this.intOption(level, ipv4 ? abi.IP_TOS : abi.IPV6_TCLASS, 0)) & 0xff,
    };
  }

  /** A destination of a single message: an IPv6 socket takes IPv4 addresses as well (net/ipv6/udp.c, udpv6_sendmsg). */
  #destination(address: SocketAddress): Endpoint {
    if (this.family === abi.AF_INET6 && "ip" in address && address.family !== abi.AF_INET6 && !this.v6only)
      return address;
    return this.own(address);
  }

  #route(bytes: Uint8Array, to: Endpoint, isLocal: boolean, packet: PacketOptions): void {
    const local = this.local as Endpoint;
    const chosen = packet.source ?? (isAny(local.ip) ? this.#sourceFor(to.ip) : local.ip);
    const source = { ...local, ip: chosen };
    const head = this.#headFor(to, source, packet);
    if (isMulticast(to.ip)) {
      if (this.network.host === undefined) this.#multicast(bytes, to, source, head);
      else this.#sendOutside(bytes, to);
      return;
    }
    if (isLocal) {
      const receiver = this.network.udp.find(to.ip, to.port, (socket) => socket.#score(to, source));
      if (receiver !== undefined) {
        receiver.deliver(bytes, source, head);
        return;
      }
      if (this.network.host === undefined) {
        // The port is unreachable, which sockets are told that are connected or want to know (__udp4_lib_err).
        const reports = this.#reports(to);
        if (reports) this.#errors.push({ error: "ECONNREFUSED", bytes: bytes.slice(), to });
        if (reports || this.remote !== undefined) this.#failed("ECONNREFUSED");
        return;
      }
    }
    this.#sendOutside(bytes, to);
  }

  #sendOutside(bytes: Uint8Array, to: Endpoint): void {
    const isNew = this.#outside === undefined;
    const outside = this.#open();
    if (isNew && this.local !== undefined) {
      // Answers should find the port that the guest knows of; if the host has it in use, any other will do.
      const { port } = this.local;
      const any = { ip: this.wildcard, port: 0 };
      outside
        .bind({ ...any, port })
        .catch(() => outside.bind(any))
        .catch(() => {});
    }
    // A connected socket is told when nobody is there.
    if (this.remote?.ip === to.ip && this.remote.port === to.port) outside.connect(to);
    outside.send(bytes, to);
  }

  #multicast(bytes: Uint8Array, to: Endpoint, source: Endpoint, head: Head): void {
    for (const socket of this.network.udp.all(to.port)) {
      if (socket.#groups.has(to.ip) && this.multicastLoop) socket.deliver(bytes, source, head);
    }
  }

  /** How well this socket suits a message; a connected one takes only what its peer sends. */
  #score(_to: Endpoint, source: Endpoint): number {
    if (this.remote === undefined) return 1;
    return this.remote.port === source.port && this.remote.ip === source.ip ? 2 : 0;
  }

  /** A message has come; what does not fit into the buffer is lost. */
  deliver(bytes: Uint8Array, from: Endpoint, head: Head): void {
    if (this.closed || this.#received.charge >= this.receiveBuffer) return;
    if (this.remote !== undefined && this.#score(this.remote, from) === 0) return;
    const time = wantsTime(this) ? this.network.owner.clock.realtimeNs() : undefined;
    const packet = { ...head, port: this.local?.port ?? 0, time };
    this.#received.push({ bytes, from: inetAddress(this.family, from), packet });
    this.changed();
  }

  override receive(to: IoVector, flags: number): Received | undefined {
    if (flags & abi.MSG_ERRQUEUE) {
      const report = this.#errors.receive(to, this.family);
      if (report === undefined) throw new SyscallError("EAGAIN");
      this.error = this.#errors.error;
      return report;
    }
    if (flags & abi.MSG_OOB) throw new SyscallError("ENOTSUP");
    this.throwError();
    const received = this.#received.receive(to, flags);
    if (received !== undefined) return received;
    if (this.shutdownMask & RCV_SHUTDOWN) return { count: 0, length: 0, from: undefined, flags: 0, rights: [] };
    return undefined;
  }

  override controlOf(received: Received): readonly ControlMessage[] {
    if (received.packet === undefined) return super.controlOf(received);
    return packetMessages(this, received.packet);
  }

  override shutdown(how: number): void {
    this.shutdownMask |= how === abi.SHUT_RDWR ? SHUTDOWN_MASK : how + 1;
    this.changed();
    // It has taken effect all the same (net/ipv4/af_inet.c, inet_shutdown).
    if (this.remote === undefined) throw new SyscallError("ENOTCONN");
  }

  /** net/core/datagram.c, datagram_poll. */
  override poll(): number {
    let mask = POLLOUT | POLLWRNORM;
    if (this.error !== undefined || this.#errors.length > 0) mask |= POLLERR;
    if (this.shutdownMask & RCV_SHUTDOWN) mask |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (this.shutdownMask === SHUTDOWN_MASK) mask |= POLLHUP;
    if (this.#received.length > 0) mask |= POLLIN | POLLRDNORM;
    return mask;
  }

  protected override destroy(): void {
    this.closed = true;
    this.#outside?.close();
    this.#outside = undefined;
    this.setLocal(undefined);
  }
}
