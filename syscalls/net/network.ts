import type { Host } from "../../host/host.ts";
import type { HostInterfaceAddress, HostNetwork } from "../../host/network.ts";
import type { FileState } from "../files/file-state.ts";
import { canonicalIp, type IpAddress, isAny, isLoopback } from "./ip.ts";
import { PortTable } from "./port-table.ts";
import type { TcpSocket } from "./tcp.ts";
import type { UdpSocket } from "./udp.ts";
import type { UnixSocket } from "./unix.ts";

/** What the network asks of the process that makes a system call. */
export interface NetworkOwner {
  readonly files: FileState;
  readonly host: Host;
  readonly pid: number;
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly clock: { monotonicNs(): number; realtimeNs(): bigint };
  wakeUp(): void;
}

/**
 * The network that a guest sees (Linux: struct net). Sockets of the guest reach each other here, within the machine and in
 * an order that depends on nothing outside; what they do not find here they look for on the host, if it has a network.
 */
export class Network {
  readonly owner: NetworkOwner;
  readonly tcp: PortTable<TcpSocket>;
  readonly udp: PortTable<UdpSocket>;
  /** Sockets with a name, by name: a path, or one with a NUL in front (unix(7), "Abstract"). */
  readonly unix = new Map<string, UnixSocket>();
  #nextAbstract = 0;

  constructor(owner: NetworkOwner) {
    this.owner = owner;
    const start = new Uint16Array(2);
    // Other programs on the host use ports, too: those that one begins with should not be those of the next.
    if (owner.host.network !== undefined) owner.host.randomBytes(new Uint8Array(start.buffer));
    this.tcp = new PortTable(start[0]);
    this.udp = new PortTable(start[1]);
  }

  get host(): HostNetwork | undefined {
    return this.owner.host.network;
  }

  interfaces(): HostInterfaceAddress[] {
    return this.host?.interfaces() ?? LOOPBACK_INTERFACE;
  }

  /** Is this an address of this computer? */
  isLocal(ip: IpAddress): boolean {
    return isLoopback(ip) || isAny(ip) || this.interfaces().some((each) => canonicalIp(each.ip) === ip);
  }

  now(): number {
    return this.owner.clock.monotonicNs();
  }

  /** A free abstract name of five hexadecimal digits (unix(7), "Autobind feature"). */
  abstractName(): string {
    for (;;) {
      const name = `\0${(this.#nextAbstract++ & 0xf_ffff).toString(16).padStart(5, "0")}`;
      if (!this.unix.has(name)) return name;
    }
  }
}

/** The only interface of a machine that has no network around it. */
const LOOPBACK_INTERFACE: HostInterfaceAddress[] = [
  { name: "lo", ip: "127.0.0.1", prefix: 8, mac: "00:00:00:00:00:00", isLoopback: true, scope: 0 },
  { name: "lo", ip: "::1", prefix: 128, mac: "00:00:00:00:00:00", isLoopback: true, scope: 0 },
];
