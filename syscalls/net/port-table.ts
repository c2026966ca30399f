import type { Endpoint } from "./address.ts";
import { ANY4, ANY6, type IpAddress, isIpv4 } from "./ip.ts";

/** Ports that are handed out to sockets that do not ask for one (net/ipv4/ip_local_port_range). */
export const FIRST_EPHEMERAL = 32_768;
export const LAST_EPHEMERAL = 60_999;

/** A socket that has, or asks for, a local address. */
export interface Bound {
  readonly local: Endpoint | undefined;
  readonly v6only: boolean;
  readonly reuseAddress: boolean;
  readonly reusePort: boolean;
  /** Does it take connections? Such a socket shares its port with no other but by SO_REUSEPORT. */
  readonly isListening: boolean;
}

/** Which sockets of a protocol have which local port (Linux: struct inet_hashinfo, struct udp_table). */
export class PortTable<T extends Bound> {
  readonly #ports = new Map<number, Set<T>>();
  #next: number;

  /** @param start any number: where in the range of free ports to begin */
  constructor(start = 0) {
    this.#next = FIRST_EPHEMERAL + (start % (LAST_EPHEMERAL - FIRST_EPHEMERAL + 1));
  }

  /** `socket.local` has been set. */
  add(socket: T): void {
    const port = socket.local?.port ?? 0;
    const sockets = this.#ports.get(port) ?? new Set<T>();
    this.#ports.set(port, sockets.add(socket));
  }

  remove(socket: T): void {
    const port = socket.local?.port ?? 0;
    const sockets = this.#ports.get(port);
    sockets?.delete(socket);
    if (sockets?.size === 0) this.#ports.delete(port);
  }

  /** Does another socket keep this one from having the address (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict)? */
  isTaken(socket: T, ip: IpAddress, port: number): boolean {
    for (const other of this.#ports.get(port) ?? []) {
      if (other === socket || other.local === undefined) continue;
      const overlap = covers(ip, socket.v6only, other.local.ip) || covers(other.local.ip, other.v6only, ip);
      if (!overlap) continue;
      if (socket.reusePort && other.reusePort) continue;
      if (socket.reuseAddress && other.reuseAddress && !other.isListening) continue;
      return true;
    }
    return false;
  }

  /** A port that no socket has; 0 if there is none (EADDRNOTAVAIL or EADDRINUSE). */
  ephemeral(): number {
    for (let tries = 0; tries <= LAST_EPHEMERAL - FIRST_EPHEMERAL; tries++) {
      const port = this.#next;
      this.#next = port === LAST_EPHEMERAL ? FIRST_EPHEMERAL : port + 1;
      if (!this.#ports.has(port)) return port;
    }
    return 0;
  }

  /**
   * The socket that is meant by an address: one bound to exactly this IP address before one bound to all.
   * @param score how well a socket suits otherwise, 0 for not at all; of equal ones the first
   */
  find(ip: IpAddress, port: number, score: (socket: T) => number): T | undefined {
    let best: T | undefined;
    let bestScore = 0;
    for (const socket of this.#ports.get(port) ?? []) {
      if (socket.local === undefined || !covers(socket.local.ip, socket.v6only, ip)) continue;
      const exact = socket.local.ip === ip ? 2 : isIpv4(socket.local.ip) === isIpv4(ip) ? 1 : 0;
      const own = score(socket);
      if (own > 0 && own * 4 + exact > bestScore) {
        best = socket;
        bestScore = own * 4 + exact;
      }
    }
    return best;
  }

  /** All sockets that an address means, for multicast. */
  *all(port: number): IterableIterator<T> {
    for (const socket of this.#ports.get(port) ?? []) yield socket;
  }
}

/** Does a socket bound to `bound` get what is sent to `ip`? The IPv6 wildcard takes IPv4 too, unless told not to. */
export function covers(bound: IpAddress, v6only: boolean, ip: IpAddress): boolean {
  if (bound === ip) return true;
  if (bound === ANY4) return isIpv4(ip);
  return bound === ANY6 && !(v6only && isIpv4(ip));
}
